//! PostgreSQL inside the stack.
//!
//! All statements run inside the database's own container over its local socket, so no password
//! is ever needed outside the `.env` file.

use std::time::Duration;

use super::sql::{identifier, literal};
use crate::secret::Secret;
use crate::shell::{Cmd, Stdin, quote};

/// Where the stack's database lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Database {
    pub stack: String,
    pub service: String,
    pub user: String,
    pub name: String,
}

impl Database {
    /// Shell text that sets `$db` to the running container, or fails with a sentence.
    pub(super) fn container(&self) -> String {
        format!(
            "db=$(docker ps -q --filter label=com.docker.compose.project={} --filter label=com.docker.compose.service={} | head -n 1)
[ -n \"$db\" ] || {{ echo 'fleet: the database container is not running' >&2; exit 69; }}
",
            quote(&self.stack),
            quote(&self.service)
        )
    }

    /// The beginning of a script that needs it.
    pub(super) fn find(&self) -> String {
        format!("set -eu\n{}", self.container())
    }

    fn psql(&self) -> String {
        format!(
            "docker exec -i \"$db\" psql -U {} -d {} -X -q -v ON_ERROR_STOP=1",
            quote(&self.user),
            quote(&self.name)
        )
    }

    /// Waits until the server accepts queries on the final database: the official image starts a
    /// private server first while it initialises, which is not asked here because it listens on
    /// no TCP address.
    #[must_use]
    pub fn wait_ready(&self) -> Cmd {
        Cmd::script(
            format!(
                "i=0
while :; do
    db=$(docker ps -q --filter label=com.docker.compose.project={stack} --filter label=com.docker.compose.service={service} | head -n 1)
    if [ -n \"$db\" ] && docker exec \"$db\" pg_isready -q -h 127.0.0.1 -U {user} -d {name} 2>/dev/null &&
        docker exec \"$db\" psql -U {user} -d {name} -XAtqc 'select 1' >/dev/null 2>&1; then exit 0; fi
    i=$((i + 1))
    [ $i -lt 120 ] || break
    sleep 1
done
echo 'fleet: the database did not become ready' >&2
for id in $(docker ps -aq --filter label=com.docker.compose.project={stack} --filter label=com.docker.compose.service={service}); do docker logs --tail 30 \"$id\" >&2 2>&1; done
exit 1",
                stack = quote(&self.stack),
                service = quote(&self.service),
                user = quote(&self.user),
                name = quote(&self.name),
            ),
            Vec::<String>::new(),
        )
        .sudo()
        .timeout(Duration::from_secs(180))
    }

    /// Makes the server take the password of the environment: the image sets it only when it makes
    /// a new database. The statement is kept out of the server's log.
    #[must_use]
    pub fn set_password(&self, password: &Secret<String>) -> Cmd {
        let sql = format!(
            "set log_statement = 'none';
set log_min_error_statement = 'panic';
set log_min_duration_statement = -1;
alter role {} password {};
",
            identifier(&self.user),
            literal(password.reveal())
        );
        let script = format!("{}exec {}", self.find(), self.psql());
        Cmd::new(["sh", "-c", script.as_str()])
            .stdin(Stdin::Secret(sql.into_bytes()))
            .sudo()
            .timeout(Duration::from_secs(60))
    }
}
