//! Digests that say whether two things are the same: files, build contexts, releases.

use sha2::{Digest as _, Sha256};

/// Characters of a digest that stand in tags and paths: 48 bits, of one stack's few images and files.
const SHORT: usize = 12;

/// SHA-256 in lowercase hexadecimal.
#[must_use]
pub fn sha256(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// The beginning of a digest, for tags and paths.
#[must_use]
pub fn short(digest: &str) -> &str {
    digest.get(..SHORT).unwrap_or(digest)
}

/// Digest of a build context: its files by path, permission bits and content's SHA-256, in any order.
///
/// Of the bits only what changes an image counts, whether the owner may execute it; the rest is the
/// umask of whoever checked the source out.
pub fn context_digest<P, D>(entries: impl IntoIterator<Item = (P, u32, D)>) -> String
where
    P: AsRef<str>,
    D: AsRef<str>,
{
    let mut entries: Vec<_> = entries
        .into_iter()
        .map(|(path, mode, content)| (path.as_ref().to_owned(), mode, content.as_ref().to_owned()))
        .collect();
    entries.sort();
    let mut digest = Fields::new("fleet build context 1");
    for (path, mode, content) in &entries {
        digest.field(path);
        digest.field(if mode & 0o100 != 0 { "executable" } else { "plain" });
        digest.field(content);
    }
    digest.finish()
}

/// The image that a build context makes: `stack/service:0123456789ab`.
#[must_use]
pub fn image_tag(stack: &str, service: &str, context_digest: &str) -> String {
    format!("{stack}/{service}:{}", short(context_digest))
}

/// A digest of fields, none of which can run into the next.
pub(super) struct Fields(Sha256);

impl Fields {
    pub fn new(what: &str) -> Self {
        let mut fields = Fields(Sha256::new());
        fields.field(what);
        fields
    }

    pub fn field(&mut self, field: impl AsRef<[u8]>) {
        let field = field.as_ref();
        self.0.update((field.len() as u64).to_be_bytes());
        self.0.update(field);
    }

    pub fn finish(self) -> String {
        hex(&self.0.finalize())
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_is_the_same_in_any_order_and_under_any_umask() {
        let one = context_digest([("a", 0o644, "1"), ("b", 0o755, "2")]);
        assert_eq!(one, context_digest([("b", 0o700, "2"), ("a", 0o600, "1")]));
        for other in [
            context_digest([("a", 0o755, "1"), ("b", 0o755, "2")]),
            context_digest([("a", 0o644, "1"), ("b", 0o755, "3")]),
            context_digest([("a", 0o644, "1b"), ("", 0o755, "2")]),
            context_digest([("a", 0o644, "1")]),
        ] {
            assert_ne!(one, other);
        }
    }

    #[test]
    fn tags_are_short_and_known() {
        let digest = sha256(b"");
        assert_eq!(digest, "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855");
        assert_eq!(image_tag("shop", "api", &digest), "shop/api:e3b0c44298fc");
    }
}
