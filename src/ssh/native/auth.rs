//! Login with the fleet's key, from its file or through an agent.

use std::sync::Arc;

use russh::client::{AuthResult, Handle};
use russh::keys::{HashAlg, PrivateKeyWithHashAlg, PublicKey};

use super::super::identity::{Identity, rsa_hash};
use super::link::Keeper;

/// Logs in, or gives the methods that the host still accepts (none when it hung up).
pub async fn login(
    handle: &mut Handle<Keeper>,
    user: &str,
    identity: &mut Identity,
) -> Result<(), Vec<String>> {
    let mut methods = Vec::new();
    match identity {
        Identity::File(key) => {
            let hash = hash(handle, key.public_key()).await;
            let key = PrivateKeyWithHashAlg::new(Arc::clone(key), hash);
            // A send error means that the connection ended: its own words say why.
            match handle.authenticate_publickey(user, key).await {
                Ok(result) => settled(result, &mut methods)?,
                Err(_) => return Err(methods),
            }
        }
        Identity::Agent(held) => {
            let mut done = false;
            for key in &held.keys {
                let hash = hash(handle, key).await;
                let answer =
                    handle.authenticate_publickey_with(user, key.clone(), hash, &mut held.client).await;
                // An agent that does not sign (locked, declined) may do so with its next key.
                let Ok(result) = answer else { continue };
                done = settled(result, &mut methods).is_ok();
                if done {
                    break;
                }
            }
            if !done {
                return Err(methods);
            }
        }
    }
    Ok(())
}

fn settled(result: AuthResult, methods: &mut Vec<String>) -> Result<(), Vec<String>> {
    match result {
        AuthResult::Success => Ok(()),
        AuthResult::Failure { remaining_methods, .. } => {
            *methods = remaining_methods.iter().map(String::from).collect();
            Err(methods.clone())
        }
    }
}

async fn hash(handle: &Handle<Keeper>, key: &PublicKey) -> Option<HashAlg> {
    if key.algorithm().is_rsa() {
        Some(rsa_hash(handle.best_supported_rsa_hash().await.unwrap_or_default()))
    } else {
        None
    }
}
