"""The papers' networks: nn.Modules with forward(speech, lens) -> logits, and nothing of training."""
