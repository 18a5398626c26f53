"""Training: examples -> adapter -> merged model. Needs torch, transformers and safetensors only."""
