"""From the configuration to the parts of the line: one file for each section that has a part."""
