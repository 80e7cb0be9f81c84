"""From the text that a client types to a pipeline, or to a refusal that says what to write instead."""
