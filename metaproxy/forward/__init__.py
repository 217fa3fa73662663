"""The last application of the line: requests go to the upstream, answers come back, both streamed."""
