"""The papers' networks: nn.Modules, forward(speech, lens) -> logits, nothing of training."""
