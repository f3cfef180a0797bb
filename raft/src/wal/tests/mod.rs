//! What the log promises, tried out.
