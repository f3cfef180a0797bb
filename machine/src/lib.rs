//! The replicated state machine: what a committed command does.
pub mod command;
