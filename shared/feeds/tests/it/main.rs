//! Reads small feeds made for the purpose, broken ones made on the spot, and, where they lie beside the
//! repository, the public feeds themselves.

mod alpine;
mod debian;
mod epss;
mod fetch;
mod hostile;
mod kev;
mod nvd;
mod osv;
mod public_feeds;
mod support;
