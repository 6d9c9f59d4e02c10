//! The files of one release of one client.
//!
//! Files that others mount are rendered first: their place on the host holds their content's digest,
//! so that a Compose file changes exactly where the content of a mounted file does, and Compose
//! recreates exactly the services that read it.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use tera::Context;
use zeroize::Zeroizing;

use super::context::{self, Release};
use super::digest::{Fields, sha256, short};
use super::env::ResolvedEnv;
use super::schema::{FileSpec, Stack};
use super::template::{Engine, Known, Mount, Templates, suggest};
use crate::diagnostic::{Diagnostic, Diagnostics, Fault};
use crate::registry::Client;
use crate::secret::Redactor;

/// What a release of one client is rendered from.
#[derive(Clone, Copy, Debug)]
pub struct RenderInput<'a> {
    pub client: &'a Client,
    /// The fleet's name.
    pub fleet: &'a str,
    pub env: &'a ResolvedEnv,
    pub release: &'a ReleaseContext,
    /// Tags of the images built from the source, by service.
    pub images: &'a BTreeMap<String, String>,
    /// Digest of the source tree, where there is one.
    pub source_digest: Option<&'a str>,
}

/// One release on a host, and where its things lie there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ReleaseContext {
    pub id: String,
    pub version: String,
    /// `/opt/<stack>`.
    pub root: String,
}

impl ReleaseContext {
    pub fn new(stack: &str, id: impl Into<String>, version: impl Into<String>) -> Self {
        ReleaseContext { id: id.into(), version: version.into(), root: format!("/opt/{stack}") }
    }

    #[must_use]
    pub fn dir(&self) -> String {
        format!("{}/releases/{}", self.root, self.id)
    }

    #[must_use]
    pub fn source_dir(&self) -> String {
        format!("{}/source", self.dir())
    }

    /// Certificate and key of the client, whatever the release.
    #[must_use]
    pub fn tls_dir(&self) -> String {
        format!("{}/tls", self.root)
    }

    /// Where ACME challenges are written, whatever the release.
    #[must_use]
    pub fn acme_dir(&self) -> String {
        format!("{}/acme", self.root)
    }

    /// The host's path of a mounted file.
    #[must_use]
    pub fn mounted(&self, digest: &str, destination: &str) -> String {
        format!("{}/files/{}/{destination}", self.root, short(digest))
    }
}

/// All files of a release, in the order of stack.toml.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rendered {
    pub files: Vec<RenderedFile>,
    /// Of everything that makes the release, but not of its id, version and folder: two releases with
    /// one digest are the same.
    pub digest: String,
}

impl Rendered {
    #[must_use]
    pub fn file(&self, destination: &str) -> Option<&RenderedFile> {
        self.files.iter().find(|file| file.destination == destination)
    }
}

/// One rendered file. `Debug` shows no content.
#[derive(Clone, PartialEq, Eq)]
pub struct RenderedFile {
    /// Relative to the release's folder.
    pub destination: String,
    pub mode: u32,
    pub secret: bool,
    pub content: Zeroizing<Vec<u8>>,
    /// SHA-256 of the content, in hexadecimal.
    pub digest: String,
    /// The host's path that another file mounts it from, where one does; it must be there, with the
    /// same mode, before Compose starts.
    pub mounted: Option<String>,
}

impl fmt::Debug for RenderedFile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RenderedFile")
            .field("destination", &self.destination)
            .field("mode", &format_args!("{:o}", self.mode))
            .field("secret", &self.secret)
            .field("bytes", &self.content.len())
            .field("mounted", &self.mounted)
            .finish()
    }
}

/// In which order files are rendered, and which of them are mounted; both as indices.
#[derive(Debug)]
pub(super) struct Order {
    order: Vec<usize>,
    mounted: BTreeSet<usize>,
}

impl Stack {
    /// The files of one release of one client.
    ///
    /// # Errors
    /// Every name in a template that is not defined for this client, and what cannot be rendered.
    /// No message holds a secret.
    pub fn render(&self, input: &RenderInput<'_>) -> Result<Rendered, Diagnostics> {
        Ok(self.render_as(input, |_| input.release.clone())?.0)
    }

    /// The same for a release that is named after its own digest.
    ///
    /// # Errors
    /// As [`Stack::render`].
    pub fn render_as(
        &self,
        input: &RenderInput<'_>,
        name: impl FnOnce(&str) -> ReleaseContext,
    ) -> Result<(Rendered, ReleaseContext), Diagnostics> {
        let templates = self.templates()?;
        let order = self.order(&templates)?;
        let (tls_dir, acme_dir) = (input.release.tls_dir(), input.release.acme_dir());
        // Without what only names this release, to compare it with another.
        let neutral = Release {
            id: "-",
            version: "-",
            dir: "-",
            source_dir: "-",
            tls_dir: &tls_dir,
            acme_dir: &acme_dir,
        };
        let values = context::build(self, input, &neutral);
        let roots: Vec<_> = self.files.iter().map(|file| (file.template.as_str(), !file.secret)).collect();
        let found = templates.check(&roots, &values);
        if !found.is_empty() {
            return Err(Diagnostics(found));
        }
        let engine = templates.engine()?;
        let same = self.files(&engine, &order, input, &values)?;
        let digest = self.digest(&same, input);
        let named = name(&digest);
        let (dir, source_dir) = (named.dir(), named.source_dir());
        let release =
            Release { id: &named.id, version: &named.version, dir: &dir, source_dir: &source_dir, ..neutral };
        let values = context::build(self, input, &release);
        let files = self.files(&engine, &order, input, &values)?;
        self.refuse_leaks(&templates, &files, input.env)?;
        Ok((Rendered { files, digest }, named))
    }

    /// What Sentry calls a release of this client: the reporting service's own image, so that a change
    /// of another service restarts nothing; the release's version where its image is not built.
    #[must_use]
    pub fn sentry_release(&self, images: &BTreeMap<String, String>, version: &str) -> String {
        let service = self.sentry.as_ref().and_then(|sentry| sentry.service.as_deref());
        let image = service.and_then(|service| context::image(self, images, service));
        let version = image.and_then(|tag| tag.rsplit_once(':')).map_or(version, |(_, digest)| digest);
        format!("{}@{version}", self.name)
    }

    /// The stack's templates, understood.
    ///
    /// # Errors
    /// Everything in them that is not.
    pub fn templates(&self) -> Result<Templates<'_>, Diagnostics> {
        let names = self.files.iter().map(|file| file.template.as_str());
        Templates::read(&self.folder, &self.contents, names).map_err(Diagnostics)
    }

    /// The files in an order in which each comes after those that it mounts.
    ///
    /// # Errors
    /// Mounts of files that do not exist, are secret, or mount each other.
    pub(super) fn order(&self, templates: &Templates<'_>) -> Result<Order, Diagnostics> {
        let mut findings = Vec::new();
        let mut wanted: Vec<BTreeMap<usize, Mount>> = Vec::new();
        for file in &self.files {
            let mut mounts = BTreeMap::new();
            for mount in templates.mounts(&file.template) {
                match self.mountable(&mount.file) {
                    Ok(index) => drop(mounts.insert(index, mount)),
                    Err(fault) => {
                        findings.push(templates.diagnostic(&mount.template, Some(mount.span), fault))
                    }
                }
            }
            wanted.push(mounts);
        }
        let mounted = wanted.iter().flat_map(|mounts| mounts.keys().copied()).collect();
        let mut order = Vec::new();
        while findings.is_empty() && order.len() < self.files.len() {
            let ready = |index: &usize| {
                !order.contains(index) && wanted[*index].keys().all(|mounted| order.contains(mounted))
            };
            match (0..self.files.len()).find(ready) {
                Some(index) => order.push(index),
                None => findings.extend(self.circle(templates, &wanted, &order)),
            }
        }
        findings.dedup();
        if findings.is_empty() { Ok(Order { order, mounted }) } else { Err(Diagnostics(findings)) }
    }

    fn mountable(&self, destination: &str) -> Result<usize, Fault> {
        let found = self.files.iter().position(|file| file.destination == destination);
        match found.map(|index| (index, &self.files[index])) {
            None => {
                let known = self.files.iter().map(|file| file.destination.as_str());
                let fault = Fault::new(format!("no file of stack.toml has the destination `{destination}`"));
                Err(suggest(destination, known).into_iter().fold(fault, Fault::hint))
            }
            Some((_, file)) if file.secret => {
                let fault =
                    Fault::new(format!("`{destination}` is secret and cannot be mounted by its content"));
                Err(fault.hint("mount it from the release: `./NAME` in the Compose file"))
            }
            Some((index, _)) => Ok(index),
        }
    }

    fn circle(
        &self,
        templates: &Templates<'_>,
        wanted: &[BTreeMap<usize, Mount>],
        order: &[usize],
    ) -> Option<Diagnostic> {
        let (index, mount) = wanted.iter().enumerate().find_map(|(index, mounts)| {
            let open = mounts.iter().find(|(mounted, _)| !order.contains(mounted))?;
            (!order.contains(&index)).then_some((index, open.1))
        })?;
        let (this, that) = (&self.files[index].destination, &mount.file);
        let fault = Fault::new(match this == that {
            true => format!("`{this}` mounts itself"),
            false => format!("`{this}` and `{that}` mount each other, so that neither can be rendered first"),
        });
        Some(templates.diagnostic(&mount.template, Some(mount.span), fault))
    }

    /// The files rendered with these values, in the order of stack.toml.
    fn files(
        &self,
        engine: &Engine<'_, '_>,
        order: &Order,
        input: &RenderInput<'_>,
        values: &BTreeMap<String, Known>,
    ) -> Result<Vec<RenderedFile>, Diagnostics> {
        let mut context = Context::new();
        for (name, value) in values {
            context.insert_value(name.clone(), value.to_tera());
        }
        engine.forget_mounts();
        let mut files: BTreeMap<usize, RenderedFile> = BTreeMap::new();
        for index in &order.order {
            let FileSpec { template, destination, mode, secret } = self.files[*index].clone();
            let content = engine.render(&template, &context)?;
            let digest = sha256(&content);
            let mounted = order.mounted.contains(index).then(|| input.release.mounted(&digest, &destination));
            if let Some(path) = &mounted {
                engine.mount(&destination, path);
            }
            files.insert(*index, RenderedFile { destination, mode, secret, content, digest, mounted });
        }
        Ok(files.into_values().collect())
    }

    /// The last line of defence: no public file holds a known secret in any form.
    fn refuse_leaks(
        &self,
        templates: &Templates<'_>,
        files: &[RenderedFile],
        env: &ResolvedEnv,
    ) -> Result<(), Diagnostics> {
        let all = Redactor::new(env.secrets());
        let public =
            files.iter().zip(&self.files).filter(|(file, _)| !file.secret && all.finds(&file.content));
        let findings = public.map(|(file, spec)| {
            let holds = |name: &str, value| Redactor::new([(name, value)]).finds(&file.content);
            let name = env.secrets().find(|(name, value)| holds(name, value)).map_or("?", |(name, _)| name);
            let fault = Fault::new(format!("what it renders holds the value of the secret {name}"));
            let hint = format!(
                "mark {} `secret = true`, or choose a value that is no ordinary word",
                spec.destination
            );
            templates.diagnostic(&spec.template, None, fault.hint(hint))
        });
        let findings: Vec<_> = findings.collect();
        if findings.is_empty() { Ok(()) } else { Err(Diagnostics(findings)) }
    }

    fn digest(&self, files: &[RenderedFile], input: &RenderInput<'_>) -> String {
        let mut digest = Fields::new("fleet release 1");
        digest.field(&self.name);
        digest.field(input.source_digest.unwrap_or_default());
        for (service, tag) in input.images {
            digest.field(service);
            digest.field(tag);
        }
        digest.field("files");
        for file in files {
            digest.field(&file.destination);
            digest.field(file.mode.to_be_bytes());
            digest.field(&file.digest);
        }
        digest.finish()
    }
}
