//! From what `docker save` wrote to the pieces of the store.

use std::fs::{self, File};
use std::io::{self, BufReader, BufWriter, Read, Write as _};
use std::path::{Component, Path};

use flate2::Compression;
use flate2::write::GzEncoder;
use serde::Deserialize;
use sha2::{Digest as _, Sha256};

use super::{Layer, Record, Store, StoreError, config_name};
use crate::fs_atomic::{self, FsError};
use crate::shell::hex;

/// One image of `manifest.json`.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Saved {
    config: String,
    layers: Vec<String>,
}

#[derive(Deserialize)]
struct Config {
    rootfs: RootFs,
}

#[derive(Deserialize)]
struct RootFs {
    diff_ids: Vec<String>,
}

/// How a layer came: Docker's own store writes plain archives, containerd's what it once pulled.
const GZIP: &[u8] = &[0x1f, 0x8b];
const ZSTD: &[u8] = &[0x28, 0xb5, 0x2f, 0xfd];

impl Store {
    /// Takes an unpacked `docker save` of one image in: its layers are compressed once, here, and not
    /// again for each host. The record is written last.
    pub(super) fn pack(&self, saved: &Path, platform: &str, tag: &str) -> Result<Record, StoreError> {
        let broken = |what: &str| StoreError::Broken(format!("docker save wrote {what} for {tag}"));
        let list: Vec<Saved> = serde_json::from_slice(&read(&saved.join("manifest.json"))?)
            .map_err(|_| broken("a manifest that cannot be read"))?;
        let [image] = list.as_slice() else { return Err(broken("not exactly one image")) };
        let inside = |name: &str| {
            let plain = Path::new(name).components().all(|part| matches!(part, Component::Normal(_)));
            plain.then(|| saved.join(name)).ok_or_else(|| broken("a file outside of it"))
        };
        let config = read(&inside(&image.config)?)?;
        let digests = serde_json::from_slice::<Config>(&config)
            .map_err(|_| broken("a configuration that cannot be read"))?
            .rootfs
            .diff_ids;
        if digests.len() != image.layers.len() {
            return Err(broken("another number of layers than it names"));
        }
        let blobs = self.blobs();
        fs_atomic::create_folder(&blobs, 0o700)?;
        let mut layers = Vec::new();
        for (digest, name) in digests.into_iter().zip(&image.layers) {
            let plain = digest
                .strip_prefix("sha256:")
                .is_some_and(|hex| hex.len() == 64 && hex.bytes().all(|byte| byte.is_ascii_hexdigit()));
            if !plain {
                return Err(broken("a layer without a SHA-256 digest"));
            }
            let path = self.layer(&digest);
            if !path.is_file() {
                compress(&inside(name)?, &path, &digest)?;
            }
            let size = fs::metadata(&path).map_err(FsError::at("read", &path))?.len();
            layers.push(Layer { digest, size });
        }
        let id = hex(&Sha256::digest(&config));
        fs_atomic::replace(&blobs.join(config_name(&id)), &config, 0o600)?;
        let record = Record { tag: tag.to_owned(), config: id, layers };
        let path = self.record_path(platform, tag);
        if let Some(folder) = path.parent() {
            fs_atomic::create_folder(folder, 0o700)?;
        }
        let text = serde_json::to_vec_pretty(&record).unwrap_or_default();
        fs_atomic::replace(&path, &text, 0o600)?;
        Ok(record)
    }
}

fn read(path: &Path) -> Result<Vec<u8>, StoreError> {
    Ok(fs::read(path).map_err(FsError::at("read", path))?)
}

/// Gzip, since every engine from 20.10 on reads it. A layer that is compressed already stays as it is.
fn compress(from: &Path, to: &Path, digest: &str) -> Result<(), StoreError> {
    let folder = to.parent().unwrap_or(Path::new("."));
    let mut source = BufReader::with_capacity(1 << 20, File::open(from).map_err(FsError::at("read", from))?);
    let mut first = [0; 4];
    let known = source.read(&mut first).map_err(FsError::at("read", from))?;
    let begin = &first[..known];
    let target = tempfile::NamedTempFile::new_in(folder).map_err(FsError::at("write", folder))?;
    let rest = begin.chain(source);
    if begin.starts_with(GZIP) || begin.starts_with(ZSTD) {
        let mut rest = rest;
        io::copy(&mut rest, &mut target.as_file()).map_err(FsError::at("write", to))?;
    } else {
        let mut reader = Hashing { inner: rest, hash: Sha256::new() };
        let writer = BufWriter::with_capacity(1 << 20, target.as_file());
        let mut gzip = GzEncoder::new(writer, Compression::default());
        io::copy(&mut reader, &mut gzip).map_err(FsError::at("write", to))?;
        gzip.finish().and_then(|mut writer| writer.flush()).map_err(FsError::at("write", to))?;
        if format!("sha256:{}", hex(&reader.hash.finalize())) != digest {
            return Err(StoreError::Broken(format!("docker save wrote another layer than {digest}")));
        }
    }
    target.as_file().sync_all().map_err(FsError::at("write", to))?;
    target.persist(to).map_err(|error| FsError::at("write", to)(error.error))?;
    Ok(())
}

struct Hashing<R> {
    inner: R,
    hash: Sha256,
}

impl<R: Read> Read for Hashing<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.hash.update(&buffer[..count]);
        Ok(count)
    }
}
