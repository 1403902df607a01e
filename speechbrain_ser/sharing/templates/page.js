(() => {
  let button = null;  // of the segment that plays
  let heard = null;  // the page's audio element

  function audio(root = document.querySelector("#recording")) {
    for (const part of root?.querySelectorAll("*") ?? []) {
      if (part.tagName == "AUDIO" && part.currentSrc) return part;
      const found = part.shadowRoot && audio(part.shadowRoot);  // the player's is in one
      if (found) return found;
    }
    return null;
  }

  function stop() {
    heard?.pause();
    button?.setAttribute("aria-pressed", "false");
    button = null;
  }

  function follow() {
    const figure = document.querySelector("#timeline .figure");
    if (!button?.isConnected || !figure || heard.paused) return stop();
    const { start, end } = figure.dataset;
    const head = figure.querySelector(".head");
    head.style.left = `${(100 * (heard.currentTime - start)) / (end - start)}%`;
    head.hidden = false;
    if (heard.currentTime >= button.dataset.end) return stop();
    requestAnimationFrame(follow);
  }

  async function play(wanted) {
    const again = button == wanted;
    stop();
    heard = audio();
    if (again || !heard) return;
    heard.currentTime = wanted.dataset.start;
    await heard.play();
    button = wanted;
    button.setAttribute("aria-pressed", "true");
    follow();
  }

  document.addEventListener("click", (event) => {
    const own = event.target.closest("#timeline button[data-start]");
    if (own) return play(own);
    const figure = event.target.closest("#timeline .figure");
    if (!figure) return;
    const { left, width } = figure.getBoundingClientRect();
    const { start, end } = figure.dataset;
    const at = +start + ((end - start) * (event.clientX - left)) / width;
    const buttons = [...document.querySelectorAll("#timeline button[data-start]")];
    const there = buttons.find((one) => at < one.dataset.end);
    if (there) play(there);
  });
})();
