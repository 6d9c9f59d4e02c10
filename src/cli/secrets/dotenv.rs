//! Reads a `.env` file as Docker Compose does, as far as values without line ends go: what
//! `stack` writes reads back exactly, and what a person wrote by hand in the usual way too.

use crate::secret::Secret;

/// The one-based line and what is wrong with it; nothing of it is quoted.
pub type Fault = (usize, &'static str);

/// Names with their values in the order of the file.
///
/// # Errors
/// The first line that cannot be read.
pub fn parse(text: &str) -> Result<Vec<(String, Secret<String>)>, Fault> {
    let mut found = Vec::new();
    for (index, line) in text.trim_start_matches('\u{feff}').lines().enumerate() {
        let line = line.trim();
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        let line = line.strip_prefix("export ").unwrap_or(line);
        let at = |why| (index + 1, why);
        let (name, value) = line.split_once('=').ok_or_else(|| at("expected NAME=value"))?;
        let name = name.trim_end();
        let named = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
        if name.is_empty() || !name.bytes().all(named) {
            return Err(at("what is in front of = is no variable name"));
        }
        let value = self::value(value.trim_start()).map_err(at)?;
        found.push((name.to_owned(), Secret::new(value)));
    }
    Ok(found)
}

fn value(text: &str) -> Result<String, &'static str> {
    let quote = match text.chars().next() {
        Some(quote @ ('\'' | '"')) => quote,
        // Unquoted: a comment begins at a # behind a blank.
        _ => {
            let end = text.match_indices('#').map(|(at, _)| at).find(|at| text[..*at].ends_with([' ', '\t']));
            return Ok(text[..end.unwrap_or(text.len())].trim_end().to_owned());
        }
    };
    let mut value = String::new();
    let mut chars = text[1..].chars();
    loop {
        match chars.next() {
            None => return Err("a quote is not closed"),
            Some(c) if c == quote => break,
            Some('\\') => match (quote, chars.next()) {
                ('\'', Some('\'')) => value.push('\''),
                ('"', Some(c @ ('\\' | '"' | '$'))) => value.push(c),
                ('"', Some('n')) => value.push('\n'),
                (_, Some(c)) => value.extend(['\\', c]),
                (_, None) => return Err("a quote is not closed"),
            },
            Some(c) => value.push(c),
        }
    }
    let rest = chars.as_str().trim_start();
    if rest.is_empty() || rest.starts_with('#') {
        Ok(value)
    } else {
        Err("something follows the closing quote")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Vec<(String, String)> {
        parse(text).unwrap().into_iter().map(|(name, value)| (name, value.reveal().clone())).collect()
    }

    #[test]
    fn the_usual_spellings_are_read() {
        let text = "# comment\n\nA=plain # said\nexport B = 'it\\'s $HOME \\d'\nC=\"a\\\\b \\\"c\\\" \\$d\" # x\nD=\nE=a#b=c\n";
        let expected =
            [("A", "plain"), ("B", "it's $HOME \\d"), ("C", "a\\b \"c\" $d"), ("D", ""), ("E", "a#b=c")];
        assert_eq!(read(text), expected.map(|(name, value)| (name.to_owned(), value.to_owned())));
    }

    #[test]
    fn faults_name_their_line_and_nothing_else() {
        assert_eq!(parse("A=1\nhunter2").unwrap_err(), (2, "expected NAME=value"));
        assert_eq!(parse("A='hunter2").unwrap_err(), (1, "a quote is not closed"));
        assert_eq!(parse("A='x' hunter2").unwrap_err(), (1, "something follows the closing quote"));
        assert_eq!(parse("A B=1").unwrap_err(), (1, "what is in front of = is no variable name"));
    }
}
