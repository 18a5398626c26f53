"""What a running service sees, as counts without content, and whether it drifts from what the model was judged on."""
