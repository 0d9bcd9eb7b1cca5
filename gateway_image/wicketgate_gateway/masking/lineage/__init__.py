"""Where the columns of an answer come from: `trace.trace` follows them through a statement's tree."""
