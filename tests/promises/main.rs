//! What discodiff promises, end to end: real dumps, real stores, the real program.

mod command_line;
mod harness;
mod oracle;
mod real;
