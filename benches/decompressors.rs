//! The decompressors that the product can use: the fastest of them is what it is measured against.

use std::io::{BufRead, Read};

use flate2::bufread::MultiGzDecoder;

/// A decompressor's name, and what it makes of a gzip file: a reader of what is in it.
pub type Decompressor = (&'static str, fn(Box<dyn BufRead>) -> Box<dyn Read>);

/// All of them; the first is the one that the product uses.
pub const DECOMPRESSORS: [Decompressor; 1] = [("flate2 with zlib-rs", |packed| Box::new(MultiGzDecoder::new(packed)))];
