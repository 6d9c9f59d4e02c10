//! What the images and the version of a release are called: by what they are made from.

use std::collections::BTreeMap;

use crate::hint::HintExt as _;
use crate::source::Snapshot;
use crate::stack::{self, BuildPlace, Stack};

/// The image of each service that is built from the source: its tag says what is in it.
///
/// # Errors
/// A service whose folder is not in the source.
pub fn tags(stack: &Stack, source: Option<&Snapshot>) -> anyhow::Result<BTreeMap<String, String>> {
    let mut images = BTreeMap::new();
    let built = stack.source.as_ref().is_some_and(|source| source.build != BuildPlace::None);
    for (service, context) in stack.built_services().filter(|_| built) {
        let Some(source) = source else { continue };
        if !source.has(context) {
            return Err(super::exit::refused(format!(
                "service {} is built from {context}, which is not in the source {}",
                service.name,
                source.root.display()
            ))
            .hint("look at `build` of that service in stack.toml, and at `source` in clients.toml"));
        }
        images.insert(
            service.name.clone(),
            stack::image_tag(&stack.name, &service.name, &source.digest(context)),
        );
    }
    for service in &stack.services {
        if let Some(tag) = service.image_from.as_ref().and_then(|from| images.get(from)).cloned() {
            images.insert(service.name.clone(), tag);
        }
    }
    Ok(images)
}

/// What the code calls itself: a `VERSION` file at its top, else the start of its digest.
#[must_use]
pub fn version(source: Option<&Snapshot>) -> String {
    let Some(source) = source else { return "1".to_owned() };
    let digest = source.digest("");
    std::fs::read_to_string(source.root.join("VERSION"))
        .ok()
        .and_then(|text| text.lines().next().map(|line| line.trim().to_owned()))
        .filter(|line| !line.is_empty() && line.len() <= 64 && line.chars().all(|c| c.is_ascii_graphic()))
        .unwrap_or_else(|| digest[..12].to_owned())
}
