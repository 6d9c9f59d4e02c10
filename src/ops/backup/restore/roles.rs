//! Roles that a dump may name: read as data, never run as the SQL that they came as.

/// A role that the dump may name: only what an application's role needs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Role {
    pub name: String,
    pub login: bool,
    /// Hash of its password, as `pg_dumpall` has it.
    pub password: Option<String>,
}

/// What a `pg_dumpall --globals-only` says of roles, as far as a restore makes them: names, whether they
/// log in, and the hash of the password. Superusers and what else reaches beyond a database are not made.
#[must_use]
pub fn roles_of(sql: &str) -> Vec<Role> {
    let mut roles: Vec<Role> = Vec::new();
    for line in sql.lines() {
        if let Some(name) = line.strip_prefix("CREATE ROLE ").and_then(|rest| rest.strip_suffix(';')) {
            if let Some((name, "")) = identifier(name) {
                roles.push(Role { name, login: false, password: None });
            }
            continue;
        }
        let Some((name, rest)) = line.strip_prefix("ALTER ROLE ").and_then(identifier) else { continue };
        let Some(rest) = rest.strip_prefix(" WITH ").and_then(|rest| rest.strip_suffix(';')) else {
            continue;
        };
        let Some(role) = roles.iter_mut().find(|role| role.name == name) else { continue };
        let (words, password) = match rest.split_once(" PASSWORD '") {
            Some((words, password)) => (words, password.strip_suffix('\'')),
            None => (rest, None),
        };
        role.login = words.split(' ').any(|word| word == "LOGIN");
        let hash = |hash: &&str| {
            (hash.starts_with("SCRAM-SHA-256$") || hash.starts_with("md5"))
                && hash.bytes().all(|b| b.is_ascii_alphanumeric() || b"$:+/=-".contains(&b))
        };
        role.password = password.filter(hash).map(str::to_owned);
    }
    roles.retain(|role| !role.name.starts_with("pg_"));
    roles
}

/// An SQL identifier at the beginning, and what follows it.
fn identifier(text: &str) -> Option<(String, &str)> {
    if let Some(quoted) = text.strip_prefix('"') {
        let (mut name, mut rest) = (String::new(), quoted);
        loop {
            let (part, after) = rest.split_once('"')?;
            name.push_str(part);
            match after.strip_prefix('"') {
                Some(more) => {
                    name.push('"');
                    rest = more;
                }
                None => return (!name.is_empty()).then_some((name, after)),
            }
        }
    }
    let end = text.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_')).unwrap_or(text.len());
    (end > 0).then(|| (text[..end].to_owned(), &text[end..]))
}
