//! The store with archives made by hand: no engine is needed to know what travels.

use std::io::Read as _;

use sha2::{Digest as _, Sha256};

use super::*;
use crate::ops::Layout;
use crate::shell::hex;

const PLATFORM: &str = "linux/amd64";

fn digest(layer: &str) -> String {
    format!("sha256:{}", hex(&Sha256::digest(layer)))
}

/// What `docker save` writes of an image with these layers.
fn saved(layers: &[&str]) -> tempfile::TempDir {
    let dir = tempfile::tempdir().unwrap();
    let digests: Vec<String> = layers.iter().map(|layer| digest(layer)).collect();
    let config = json!({ "rootfs": { "type": "layers", "diff_ids": digests } }).to_string();
    fs::write(dir.path().join("config.json"), config).unwrap();
    let names: Vec<String> = (0..layers.len()).map(|index| format!("{index}/layer.tar")).collect();
    for (name, layer) in names.iter().zip(layers) {
        fs::create_dir(dir.path().join(name).parent().unwrap()).unwrap();
        fs::write(dir.path().join(name), layer).unwrap();
    }
    let manifest = json!([{ "Config": "config.json", "RepoTags": null, "Layers": names }]).to_string();
    fs::write(dir.path().join("manifest.json"), manifest).unwrap();
    dir
}

fn store() -> (tempfile::TempDir, Store) {
    let dir = tempfile::tempdir().unwrap();
    let store = Store::new(dir.path());
    (dir, store)
}

fn ship(tags: &[&str]) -> Ship {
    let tags: Vec<String> = tags.iter().map(|tag| (*tag).to_owned()).collect();
    Ship {
        layout: Layout::new("shop"),
        store: PathBuf::new(),
        platform: PLATFORM.into(),
        lacking: tags.clone(),
        all: tags,
    }
}

fn names(view: &View) -> BTreeSet<String> {
    files(view.dir.path())
        .unwrap()
        .iter()
        .map(|path| path.file_name().unwrap().to_str().unwrap().into())
        .collect()
}

fn shelf(text: &str) -> Shelf {
    Shelf::parse(format!("{text}end\n").as_bytes()).unwrap()
}

#[test]
fn a_host_is_sent_what_it_lacks_and_no_layer_twice() {
    let (_dir, store) = store();
    for (tag, layers) in [("shop/api:1", ["base", "tools", "api"]), ("shop/web:1", ["base", "tools", "web"])]
    {
        store.pack(saved(&layers).path(), PLATFORM, tag).unwrap();
    }
    let both = ship(&["shop/api:1", "shop/web:1"]);
    let bare = store.view(&both, &Shelf::default()).unwrap();
    assert_eq!((bare.layers, bare.of), (4, 6));
    assert!(bare.bytes > 0);

    let has = shelf(&format!("store docker\nlayers {} {}\n", digest("base"), digest("tools")));
    let view = store.view(&both, &has).unwrap();
    let found = names(&view);
    assert_eq!(view.layers, 2);
    assert!(found.contains(&layer_name(&digest("api"))) && !found.contains(&layer_name(&digest("base"))));
    let text = fs::read(view.dir.path().join("manifest.json")).unwrap();
    let manifest: serde_json::Value = serde_json::from_slice(&text).unwrap();
    assert_eq!(manifest[0]["RepoTags"][0], "shop/api:1");
    assert_eq!(manifest[0]["Layers"].as_array().unwrap().len(), 3, "each layer is named, sent or not");
    assert!(found.contains(manifest[0]["Config"].as_str().unwrap()));

    let mut unpacked = String::new();
    let file = fs::File::open(view.dir.path().join(layer_name(&digest("api")))).unwrap();
    flate2::read::GzDecoder::new(file).read_to_string(&mut unpacked).unwrap();
    assert_eq!(unpacked, "api");
}

#[test]
fn a_host_that_keeps_the_pieces_keeps_those_of_its_whole_release() {
    let (_dir, store) = store();
    store.pack(saved(&["base", "api"]).path(), PLATFORM, "shop/api:2").unwrap();
    store.pack(saved(&["base", "web"]).path(), PLATFORM, "shop/web:1").unwrap();
    let update = Ship { lacking: vec!["shop/api:2".into()], ..ship(&["shop/api:2", "shop/web:1"]) };
    let has = shelf(&format!("store containerd\nlayers {} {}\n", digest("base"), digest("web")));
    assert_eq!(store.view(&update, &has).unwrap().layers, 3);
}

#[test]
fn what_is_not_whole_is_not_there() {
    let (_dir, store) = store();
    store.pack(saved(&["base", "api"]).path(), PLATFORM, "shop/api:1").unwrap();
    assert_eq!(store.known("shop/api:1").keys().collect::<Vec<_>>(), [PLATFORM]);
    assert_eq!(store.record("linux/arm64", "shop/api:1"), None);
    fs::write(store.layer(&digest("api")), "cut").unwrap();
    assert_eq!(store.record(PLATFORM, "shop/api:1"), None);
    let error = store.view(&ship(&["shop/api:1"]), &Shelf::default()).err().unwrap();
    assert!(error.to_string().contains("shop/api:1"), "{error}");
}

#[test]
fn a_layer_that_is_not_what_it_is_called_is_refused() {
    let (_dir, store) = store();
    let dir = saved(&["base"]);
    fs::write(dir.path().join("0/layer.tar"), "another").unwrap();
    let error = store.pack(dir.path(), PLATFORM, "shop/api:1").unwrap_err();
    assert!(error.to_string().contains("another layer than sha256:"), "{error}");
    assert_eq!(store.known("shop/api:1"), BTreeMap::new());
    let manifest = json!([{ "Config": "../x", "RepoTags": null, "Layers": [] }]).to_string();
    fs::write(dir.path().join("manifest.json"), manifest).unwrap();
    assert!(store.pack(dir.path(), PLATFORM, "shop/api:1").unwrap_err().to_string().contains("outside"));
}

#[test]
fn the_newest_builds_stay_with_their_layers() {
    let (_dir, store) = store();
    for number in 1..=4 {
        let tag = format!("shop/api:{number}");
        store.pack(saved(&["base", &tag]).path(), PLATFORM, &tag).unwrap();
        let path = store.record_path(PLATFORM, &tag);
        let time = SystemTime::UNIX_EPOCH + Duration::from_secs(number * 1000);
        fs::File::options().write(true).open(path).unwrap().set_modified(time).unwrap();
    }
    let stale = store.dir().join("view-left");
    fs::create_dir(&stale).unwrap();
    fs::File::open(&stale).unwrap().set_modified(SystemTime::UNIX_EPOCH).unwrap();
    assert_eq!(store.prune(2).unwrap(), ["shop/api:2", "shop/api:1"]);
    assert!(store.record(PLATFORM, "shop/api:3").is_some() && store.record(PLATFORM, "shop/api:4").is_some());
    assert!(!store.layer(&digest("shop/api:1")).exists() && store.layer(&digest("base")).exists());
    assert!(!stale.exists());
}
