//! A PostgreSQL that is not in the stack: reached from the client's host by the programs that are
//! there, or by those of an image.
//!
//! Its address holds the password. So it travels on standard input, and from there on in the
//! environment: no argument list shows it.

use crate::secret::Secret;
use crate::shell::quote;

/// Where it is.
#[derive(Clone, Debug)]
pub struct Outside {
    /// Environment of libpq, such as `PGHOST` and `PGPASSWORD`: names and values of one line.
    pub environment: Vec<(String, Secret<String>)>,
    /// Image whose programs are used instead of the host's own, such as `postgres:17`.
    pub image: Option<String>,
}

impl Outside {
    /// From an address such as `postgresql://user:password@host:5432/name?sslmode=require`
    /// (PostgreSQL manual 34.1.1.2). `None` when it is none, or names no database or user.
    #[must_use]
    pub fn parse(address: &str, image: Option<String>) -> Option<Outside> {
        let url =
            url::Url::parse(address).ok().filter(|url| matches!(url.scheme(), "postgresql" | "postgres"))?;
        let host = url.host_str()?.trim_start_matches('[').trim_end_matches(']').to_owned();
        let (name, user) = (decoded(url.path().trim_start_matches('/'))?, decoded(url.username())?);
        if name.is_empty() || user.is_empty() {
            return None;
        }
        let mut found = vec![
            ("PGHOST", host),
            ("PGPORT", url.port().unwrap_or(5432).to_string()),
            ("PGDATABASE", name),
            ("PGUSER", user),
            ("PGPASSWORD", decoded(url.password().unwrap_or_default())?),
        ];
        for (key, value) in url.query_pairs() {
            // What is of a driver and not of libpq is passed over.
            match &*key {
                "sslmode" => found.push(("PGSSLMODE", value.into_owned())),
                "channel_binding" => found.push(("PGCHANNELBINDING", value.into_owned())),
                "options" => found.push(("PGOPTIONS", value.into_owned())),
                _ => {}
            }
        }
        if found.iter().any(|(_, value)| value.contains(['\n', '\r', '\0'])) {
            return None;
        }
        let environment = found.into_iter().map(|(key, value)| (key.to_owned(), value.into())).collect();
        Some(Outside { environment, image })
    }

    /// A part of the address, by libpq's name of it; empty when it was not given.
    #[must_use]
    pub fn part(&self, name: &str) -> &str {
        self.environment.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.reveal())
    }

    /// Shell text that takes the address from standard input, as [`Outside::lines`] puts it there, and
    /// fails with a sentence when the host has no `program`.
    pub(super) fn open(&self, program: &str) -> String {
        let reads: String = self
            .environment
            .iter()
            .map(|(name, _)| format!("IFS= read -r {name}\nexport {name}\n"))
            .collect();
        let lacks = match self.image {
            Some(_) => String::new(),
            None => format!(
                "command -v {program} >/dev/null 2>&1 || {{ echo 'fleet: this host has no {program}, and [database] of the stack names no image with one' >&2; exit 69; }}\n"
            ),
        };
        format!("set -eu\n{reads}{lacks}")
    }

    /// The values, one a line.
    pub(super) fn lines(&self) -> String {
        self.environment.iter().map(|(_, value)| format!("{}\n", value.reveal())).collect()
    }

    /// The same with their names, for a file.
    pub(super) fn assignments(&self) -> String {
        self.environment.iter().map(|(name, value)| format!("{name}={}\n", value.reveal())).collect()
    }

    /// Shell words that run one of PostgreSQL's programs with the address in its environment.
    pub(super) fn program(&self, program: &str) -> String {
        match &self.image {
            Some(image) => {
                let passed: String = self.environment.iter().map(|(name, _)| format!(" -e {name}")).collect();
                format!("docker run --rm -i --network host{passed} --entrypoint {program} {}", quote(image))
            }
            None => program.to_owned(),
        }
    }

    /// Shell text for the probe: whether the database answers, and what was migrated there. An image
    /// that is not on the host is not fetched for a question.
    pub(super) fn asked(&self) -> String {
        let values: String = self
            .environment
            .iter()
            .map(|(name, value)| format!("{name}={}; export {name}\n", quote(value.reveal())))
            .collect();
        let can = match &self.image {
            Some(image) => format!("docker image inspect {} >/dev/null 2>&1", quote(image)),
            None => "have psql".to_owned(),
        };
        format!(
            "(\n{values}PGCONNECT_TIMEOUT=5; export PGCONNECT_TIMEOUT
if {can}; then
    timeout 20 {psql} -X -At -F ' ' --no-password -c \"select 'database' || chr(9) || 'ready'\" \\
        -c \"select 'migration' || chr(9) || name || ' ' || sha256 from fleet_migrations order by name\" 2>/dev/null </dev/null
fi
)\n",
            psql = self.program("psql"),
        )
    }
}

/// `%40` and the like.
fn decoded(text: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        match (first, after) {
            (b'%', [high, low, after @ ..]) => {
                let pair = [*high, *low];
                bytes.push(u8::from_str_radix(std::str::from_utf8(&pair).ok()?, 16).ok()?);
                rest = after;
            }
            _ => {
                bytes.push(*first);
                rest = after;
            }
        }
    }
    String::from_utf8(bytes).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_becomes_the_environment_of_libpq() {
        let address =
            "postgresql://neo:p%40ss%2Fword@db.example.net:6543/club?sslmode=require&pgbouncer=true";
        let found = Outside::parse(address, None).unwrap();
        assert_eq!(
            (found.part("PGDATABASE"), found.part("PGUSER"), found.part("PGOPTIONS")),
            ("club", "neo", "")
        );
        let pairs = [
            ("PGHOST", "db.example.net"),
            ("PGPORT", "6543"),
            ("PGDATABASE", "club"),
            ("PGUSER", "neo"),
            ("PGPASSWORD", "p@ss/word"),
            ("PGSSLMODE", "require"),
        ];
        let found: Vec<(&str, &str)> =
            found.environment.iter().map(|(key, value)| (key.as_str(), value.reveal().as_str())).collect();
        assert_eq!(found, pairs);
    }

    #[test]
    fn what_is_no_address_of_a_database_is_refused() {
        for bad in
            ["", "mysql://a@b/c", "postgresql://host", "postgresql://u:%0ap@h/d", "postgres://@h/d", "x"]
        {
            assert!(Outside::parse(bad, None).is_none(), "{bad}");
        }
    }
}
