//! Texts and names as SQL has them.

/// A text as a literal (PostgreSQL manual 4.1.2.1, standard_conforming_strings on).
pub fn literal(text: &str) -> String {
    format!("'{}'", text.replace('\'', "''"))
}

/// A name as a quoted identifier (4.1.1).
pub fn identifier(name: &str) -> String {
    format!("\"{}\"", name.replace('"', "\"\""))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_a_name_stays_data() {
        assert_eq!(literal("0'; drop table x; --"), "'0''; drop table x; --'");
        assert_eq!(identifier("a\"; drop table x; --"), "\"a\"\"; drop table x; --\"");
    }
}
