# docker build -t speechbrain-ser . && docker run --rm speechbrain-ser
FROM python:3.12-slim

# what torch's threads need; libsndfile comes with soundfile
RUN apt-get update && apt-get install --yes --no-install-recommends libgomp1 \
    && rm -rf /var/lib/apt/lists/*
WORKDIR /speechbrain-ser
# torch for CPUs alone, far smaller than that for CUDA
ENV PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu PIP_NO_CACHE_DIR=1
COPY . .
RUN bash -c 'source tools/setup.sh && setup mini'
CMD ["bash", "tools/quickstart.sh"]
