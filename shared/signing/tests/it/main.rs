//! Signing and verifying: what is signed is accepted, and whatever is done to it afterwards is not.

mod attacks;
mod authority;
mod fuzz;
mod independent;
mod judged;
mod keys;
#[path = "../../../rendering/tests/judges/left_out.rs"]
mod left_out;
mod openssl;
mod packs;
mod revocation;
mod softhsm;
mod support;
mod timestamps;
mod tokens;
