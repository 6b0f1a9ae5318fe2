"""Who judges the model besides its own training: the evaluation service and the prediction market's clues."""
