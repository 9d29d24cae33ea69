//! What discodiff promises, end to end: real dumps, real stores, the real program.

mod command_line;
mod generated;
mod harness;
mod oracle;
mod real;
