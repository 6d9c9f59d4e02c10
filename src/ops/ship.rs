//! Images built on the operator's machine, on their way to a host: what its engine has already, and
//! how it takes in the rest.
//!
//! What travels is an archive as `docker save` makes it, in pieces and without the layers that the
//! host has. Docker's own store passes over a layer that it has and never opens its file
//! (moby, image/tarexport/load.go; seen with 20.10, 26 and 28). The containerd store wants every file
//! of an archive, so for such a host the pieces stay on its disk, and still only the new ones travel.

use std::path::PathBuf;
use std::time::Duration;

use super::Layout;
use crate::shell::{Cmd, join, quote};

/// Longest time in which an engine takes images in.
const LOAD_LIMIT: Duration = Duration::from_secs(1800);

/// Images that a host lacks, and where they are on this machine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ship {
    pub layout: Layout,
    /// Folder of built images on the operator's machine.
    pub store: PathBuf,
    /// What they are built for, such as `linux/amd64`.
    pub platform: String,
    /// Those that the host lacks.
    pub lacking: Vec<String>,
    /// All that its release runs.
    pub all: Vec<String>,
}

impl Ship {
    /// Where the pieces arrive.
    #[must_use]
    pub fn folder(&self) -> String {
        self.layout.at("images")
    }

    /// Makes the folder and says what the engine has; read by [`Shelf::parse`].
    #[must_use]
    pub fn ask(&self) -> Cmd {
        Cmd::script(
            format!(
                "set -eu
mkdir -p {folder}
chmod 0700 {folder}
if docker info --format '{{{{.DriverStatus}}}}' | grep -q io.containerd.snapshotter; then echo store containerd; else echo store docker; fi
ids=$(docker image ls -aq --no-trunc | sort -u)
[ -z \"$ids\" ] || docker image inspect --format 'layers{{{{range .RootFS.Layers}}}} {{{{.}}}}{{{{end}}}}' $ids | sort -u
echo end",
                folder = quote(&self.folder()),
            ),
            Vec::<String>::new(),
        )
        .sudo()
        .timeout(Duration::from_secs(60))
    }

    /// Puts the archive together, hands it to the engine and looks whether the images are there.
    #[must_use]
    pub fn load(&self) -> Cmd {
        Cmd::script(
            format!(
                "set -eu
cd {folder}
tar -cf - -- * | docker load --quiet >/dev/null
for tag in {tags}; do
    docker image inspect \"$tag\" >/dev/null 2>&1 || {{ echo \"fleet: the engine did not take $tag in\" >&2; exit 1; }}
done
docker info --format '{{{{.DriverStatus}}}}' | grep -q io.containerd.snapshotter || rm -rf -- {folder}",
                folder = quote(&self.folder()),
                tags = join(&self.lacking),
            ),
            Vec::<String>::new(),
        )
        .sudo()
        .timeout(LOAD_LIMIT)
    }
}

/// The platform of a host by the name that dpkg has for its processor.
#[must_use]
pub fn platform(arch: &str) -> String {
    match arch {
        "armhf" => "linux/arm/v7".to_owned(),
        "i386" => "linux/386".to_owned(),
        "ppc64el" => "linux/ppc64le".to_owned(),
        other => format!("linux/{other}"),
    }
}

/// What the engine of a host has.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shelf {
    /// It wants whole archives.
    pub whole: bool,
    /// Digests of the layers of each image, from the lowest up.
    images: Vec<Vec<String>>,
}

impl Shelf {
    /// `None` when the answer is not whole.
    #[must_use]
    pub fn parse(answer: &[u8]) -> Option<Shelf> {
        let text = crate::secret::clean_bytes(answer);
        let mut shelf = Shelf::default();
        for line in text.lines() {
            let mut words = line.split(' ');
            match words.next() {
                Some("store") => shelf.whole = words.next() == Some("containerd"),
                Some("layers") => shelf.images.push(words.map(str::to_owned).collect()),
                Some("end") => return Some(shelf),
                _ => {}
            }
        }
        None
    }

    /// How many of an image's layers, counted from the lowest, need not be sent. A layer counts only on
    /// top of the same ones: that is how an engine knows it.
    #[must_use]
    pub fn held(&self, layers: &[String]) -> usize {
        if self.whole {
            return 0;
        }
        let common = |image: &Vec<String>| image.iter().zip(layers).take_while(|(a, b)| a == b).count();
        self.images.iter().map(common).max().unwrap_or(0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn layers(text: &str) -> Vec<String> {
        text.split(' ').map(str::to_owned).collect()
    }

    #[test]
    fn a_layer_is_held_only_on_top_of_the_same_ones() {
        let shelf = Shelf::parse(b"store docker\nlayers a b c\nlayers x b\nlayers\nend\n").unwrap();
        assert_eq!(shelf.held(&layers("a b c d")), 3);
        assert_eq!(shelf.held(&layers("a b y")), 2);
        assert_eq!(shelf.held(&layers("b c")), 0);
        let whole = Shelf::parse(b"store containerd\nlayers a b c\nend\n").unwrap();
        assert_eq!(whole.held(&layers("a b c")), 0);
    }

    #[test]
    fn a_cut_answer_is_none() {
        assert_eq!(Shelf::parse(b"store docker\nlayers a\n"), None);
        assert_eq!(Shelf::parse(b""), None);
    }

    #[test]
    fn the_scripts_parse() {
        let ship = Ship {
            layout: Layout::new("demo"),
            store: "/srv/images".into(),
            platform: platform("amd64"),
            lacking: vec!["demo/api:0123456789ab".into()],
            all: vec!["demo/api:0123456789ab".into()],
        };
        for cmd in [ship.ask(), ship.load()] {
            let text = String::from_utf8(cmd.input().bytes().to_vec()).unwrap();
            let output = std::process::Command::new("sh").args(["-n", "-c", &text]).output().unwrap();
            assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
            assert!(!text.contains("{{{{"), "{text}");
        }
    }
}
