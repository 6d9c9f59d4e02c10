//! A POST of JSON: Slack's incoming webhook, and the signed one of Standard Webhooks
//! (<https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md>).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use hmac::{Hmac, KeyInit as _, Mac as _};
use jiff::Timestamp;
use sha2::Sha256;

use super::{LIMIT, Message};
use crate::http::Http;

const JSON: (&str, &str) = ("content-type", "application/json");

pub fn slack(url: &str, message: &Message) -> Result<(), String> {
    let answer =
        Http::new(LIMIT).post(url, &[JSON], message.slack().as_bytes()).map_err(|error| error.to_string())?;
    if answer.ok() {
        return Ok(());
    }
    // Slack says in one word what is wrong, such as no_service or invalid_token.
    let said: String = String::from_utf8_lossy(&answer.body).chars().take(60).collect();
    let said = crate::secret::clean(&said).into_owned();
    Err(format!("the server answers {} {}", answer.status, said.lines().next().unwrap_or_default())
        .trim_end()
        .to_owned())
}

pub fn signed(url: &str, key: Option<&str>, message: &Message, now: Timestamp) -> Result<(), String> {
    let (body, at) = (message.json(), now.as_second().to_string());
    let id = format!("msg_{:032x}", rand::random::<u128>());
    let signature = key.map(|key| sign(key, &id, &at, &body)).transpose()?;
    let mut headers = vec![JSON, ("webhook-id", id.as_str()), ("webhook-timestamp", at.as_str())];
    if let Some(signature) = &signature {
        headers.push(("webhook-signature", signature));
    }
    let answer = Http::new(LIMIT).post(url, &headers, body.as_bytes()).map_err(|error| error.to_string())?;
    if answer.ok() { Ok(()) } else { Err(format!("the server answers {}", answer.status)) }
}

/// `v1,` and the base64 of HMAC-SHA256 over `id.timestamp.body`. A key is `whsec_` and base64, or its own
/// bytes.
pub fn sign(key: &str, id: &str, at: &str, body: &str) -> Result<String, String> {
    let bytes = match key.strip_prefix("whsec_") {
        Some(text) => STANDARD.decode(text).map_err(|_| "its key is no base64 behind whsec_".to_owned())?,
        None => key.as_bytes().to_vec(),
    };
    let mut mac = Hmac::<Sha256>::new_from_slice(&bytes).map_err(|_| "its key is no key".to_owned())?;
    mac.update(format!("{id}.{at}.{body}").as_bytes());
    Ok(format!("v1,{}", STANDARD.encode(mac.finalize().into_bytes())))
}
