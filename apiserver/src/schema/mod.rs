//! What the fields of the served kinds are: names, types, numbers on the wire, patch keys.
//!
//! One table, read from upstream's struct tags by a program in `apiserver/facts/`, serves the strict
//! decoder, the protobuf transcoder, the strategic merge patch and the OpenAPI document.
