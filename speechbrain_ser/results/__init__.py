"""What runs come to: metrics, reports, summaries, figures, votes."""
