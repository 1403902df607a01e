"""From a corpus to items: manifests, splits, datasets, audio, augmentation, the store."""
