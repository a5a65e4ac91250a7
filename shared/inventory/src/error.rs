//! Why an inventory as a whole cannot be used.

/// A document that cannot be used as an inventory. The message is meant for whoever sent it: it names the value,
/// the rule that the value breaks, and the remedy.
#[derive(Debug, thiserror::Error)]
pub enum InventoryError {
    #[error(
        "the {document} has {bytes} bytes, the limit is {limit}: send one document per machine or application"
    )]
    TooLarge { document: &'static str, bytes: usize, limit: usize },
    #[error(
        "the {document} nests objects and lists more than {limit} levels deep: flatten the components into one list"
    )]
    TooDeep { document: &'static str, limit: usize },
    /// Not JSON, or JSON of another shape than agreed; `reason` has the line and column.
    #[error("the {document} cannot be read: {reason}")]
    Malformed { document: &'static str, reason: String },
    /// Something well known that is not read here.
    #[error("{found} is not supported yet: send {supported}")]
    Unsupported { found: String, supported: &'static str },
    /// Well-formed, and yet not an inventory.
    #[error("{what} `{value}` {rule}: {remedy}")]
    Invalid { what: &'static str, value: String, rule: String, remedy: &'static str },
    /// Nothing in it could be used: kept as an inventory it would read as a clean asset.
    #[error("the {document} {finding}: {remedy}")]
    Empty { document: &'static str, finding: String, remedy: &'static str },
}
