//! As much of a shell's grammar as the examples of the documentation use.

/// Words of a shell line, cut into commands at `|`, `&&` and `;`; redirections and comments are left out.
pub fn commands(line: &str) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    for letter in line.chars() {
        match (letter, quote) {
            (_, Some(open)) if letter == open => quote = None,
            (_, Some(_)) => word.get_or_insert_default().push(letter),
            ('\'' | '"', None) => {
                quote = Some(letter);
                word.get_or_insert_default();
            }
            ('#', None) if word.is_none() => break,
            (' ' | '|' | '&' | ';' | '>' | '<', None) => {
                all.last_mut().expect("never empty").extend(word.take());
                match letter {
                    ' ' => {}
                    '>' | '<' => all.push(vec!["(redirected)".to_owned()]),
                    _ => all.push(Vec::new()),
                }
            }
            _ => word.get_or_insert_default().push(letter),
        }
    }
    assert!(quote.is_none(), "a quote is not closed: {line}");
    all.last_mut().expect("never empty").extend(word);
    all.retain(|words| words.first().is_some_and(|first| first != "(redirected)"));
    all
}

#[test]
fn lines_are_cut_as_a_shell_does() {
    let found = commands("pass a/b | fleet secrets set x 'Y Z' && fleet list > run.txt # then");
    assert_eq!(found.len(), 3, "{found:?}");
    assert_eq!(found[1], ["fleet", "secrets", "set", "x", "Y Z"]);
    assert_eq!(found[2], ["fleet", "list"]);
}
