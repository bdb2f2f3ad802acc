"""Architectures in plain torch, each to be read in ten minutes; their logits are those of transformers' classes.

decoder.py   Qwen3      what comes next, from what came before
encoder.py   BERT       what is hidden, from both sides
experts.py   Qwen3-MoE  a feed-forward part of which each token passes a few experts only
"""
