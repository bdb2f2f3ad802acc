"""What `pretune advise` says of labelled data: which task, method and model, from figures that were measured."""
