//! Certificates: a placeholder so that the proxy can start, then certbot over HTTP-01.
//!
//! certbot's own timer renews. Its deploy hook copies the pair to where the proxy reads it,
//! reloads the proxy and then compares the serial that is served with the one on disk, because
//! `certbot renew` reports success even when a hook fails.

use std::time::Duration;

use super::Layout;
use super::files::NewFile;
use crate::shell::{Cmd, join, quote};

/// What is wanted for one client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Wanted {
    pub layout: Layout,
    pub domain: String,
    /// Further names on the same certificate.
    pub aliases: Vec<String>,
    pub email: Option<String>,
    /// ACME directory URL.
    pub server: String,
    /// Root that signs the ACME server's own HTTPS, when it is no public one.
    pub ca: Option<Vec<u8>>,
    /// Service that serves TLS, and the command that makes it read the new pair.
    pub service: String,
    pub reload: Vec<String>,
    /// File names that the proxy reads.
    pub certificate: String,
    pub key: String,
}

pub const CA_FILE: &str = "/etc/fleet/acme-ca.pem";
pub const RENEW_DROPIN: &str = "/etc/systemd/system/certbot.service.d/fleet.conf";

impl Wanted {
    /// What the certificate shall name: the domain first.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        std::iter::once(&self.domain).chain(&self.aliases).map(String::as_str)
    }

    #[must_use]
    pub fn hook_path(&self) -> String {
        self.layout.at("bin/certificate-installed")
    }

    /// Files that renewal needs on the host.
    #[must_use]
    pub fn files(&self) -> Vec<NewFile> {
        let mut files = vec![NewFile {
            path: self.hook_path(),
            mode: "0755".into(),
            content: self.hook().into_bytes(),
            secret: false,
        }];
        if let Some(ca) = &self.ca {
            files.push(NewFile {
                path: CA_FILE.into(),
                mode: "0644".into(),
                content: ca.clone(),
                secret: false,
            });
            files.push(NewFile {
                path: RENEW_DROPIN.into(),
                mode: "0644".into(),
                content: format!(
                    "# Written by fleet.\n[Service]\nEnvironment=REQUESTS_CA_BUNDLE={CA_FILE}\n"
                )
                .into_bytes(),
                secret: false,
            });
        }
        files
    }

    /// Also run by hand after a first issue: it finds the pair by itself then.
    fn hook(&self) -> String {
        let stack = &self.layout.stack;
        format!(
            r#"#!/bin/sh
# Written by fleet. Puts a new certificate where the proxy reads it, and proves that it is served.
set -eu
export LC_ALL=C PATH=/usr/sbin:/usr/bin:/sbin:/bin
lineage=${{RENEWED_LINEAGE:-/etc/letsencrypt/live/{domain}}}
[ "$(basename "$lineage")" = {domain} ] || exit 0
umask 077
mkdir -p {tls}
cp -L "$lineage/privkey.pem" {tls}/{key}.new
cp -L "$lineage/fullchain.pem" {tls}/{certificate}.new
chmod 0644 {tls}/{certificate}.new
mv -f {tls}/{key}.new {tls}/{key}
mv -f {tls}/{certificate}.new {tls}/{certificate}
wanted=$(openssl x509 -in {tls}/{certificate} -noout -serial)
for try in 1 2 3 4 5 6 7 8 9 10; do
    id=$(docker ps -q --filter label=com.docker.compose.project={stack} --filter label=com.docker.compose.service={service} | head -n 1)
    if [ -n "$id" ]; then docker exec "$id" {reload} >/dev/null 2>&1 || true; fi
    sleep 1
    served=$(timeout 5 openssl s_client -connect 127.0.0.1:443 -servername {domain} </dev/null 2>/dev/null | openssl x509 -noout -serial 2>/dev/null || true)
    [ "$served" = "$wanted" ] && exit 0
done
logger -t fleet-{stack} -p user.err "certificate of {domain}: $wanted is on disk but ${{served:-nothing}} is served"
echo "certificate of {domain}: $wanted is on disk but ${{served:-nothing}} is served" >&2
exit 1
"#,
            domain = quote(&self.domain),
            tls = quote(&self.layout.at("tls")),
            key = quote(&self.key),
            certificate = quote(&self.certificate),
            service = quote(&self.service),
            reload = join(&self.reload),
        )
    }

    /// A self-signed pair that lets the proxy start before the first certificate; kept when a pair
    /// is there already.
    #[must_use]
    pub fn placeholder(&self) -> Cmd {
        let text = format!(
            "set -eu
umask 077
mkdir -p {acme}
chmod 0755 {acme}
mkdir -p {tls}
cd {tls}
if [ -s {certificate} ] && [ -s {key} ]; then exit 0; fi
openssl req -x509 -newkey rsa:2048 -nodes -days 7 -subj {subject} -addext {names} -keyout {key}.new -out {certificate}.new 2>/dev/null
chmod 0644 {certificate}.new
mv -f {key}.new {key}
mv -f {certificate}.new {certificate}",
            acme = quote(&self.layout.at("acme")),
            tls = quote(&self.layout.at("tls")),
            certificate = quote(&self.certificate),
            key = quote(&self.key),
            subject = quote(&format!("/O=fleet placeholder/CN={}", self.domain.chars().take(64).collect::<String>())),
            names = quote(&format!("subjectAltName=DNS:{}", self.domain)),
        );
        Cmd::script(text, Vec::<String>::new()).sudo().timeout(Duration::from_secs(60))
    }

    /// Asks for the certificate, then installs it. Not due yet is success without a request.
    #[must_use]
    pub fn obtain(&self) -> Cmd {
        let mut words: Vec<String> = [
            "certbot",
            "certonly",
            "--non-interactive",
            "--agree-tos",
            "--no-eff-email",
            "--keep-until-expiring",
            "--renew-with-new-domains",
            "--webroot",
            "--webroot-path",
        ]
        .map(str::to_owned)
        .into();
        words.push(self.layout.at("acme"));
        words.extend(["--cert-name".into(), self.domain.clone()]);
        words.extend(self.names().flat_map(|name| ["--domain".into(), name.to_owned()]));
        words.extend(["--server".into(), self.server.clone(), "--deploy-hook".into(), self.hook_path()]);
        match &self.email {
            Some(email) => words.extend(["--email".into(), email.clone()]),
            None => words.push("--register-unsafely-without-email".into()),
        }
        let bundle =
            if self.ca.is_some() { format!("export REQUESTS_CA_BUNDLE={CA_FILE}\n") } else { String::new() };
        // The hook runs only when certbot renews in this very call, so it is called once more: a
        // run that was cut between issue and installation is mended by it.
        Cmd::script(
            format!(
                "set -eu\n{bundle}{certbot} 2>&1\nexec {hook}",
                certbot = join(&words),
                hook = self.hook_path()
            ),
            Vec::<String>::new(),
        )
        .sudo()
        .timeout(Duration::from_secs(300))
    }
}
