//! "Tokens" with public keys from an address, and TLS.

use std::sync::{Arc, Mutex, PoisonError};

use anyhow::Context as _;
use base64::{Engine as _, engine::general_purpose::URL_SAFE_NO_PAD};
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use rcgen::{KeyPair, PKCS_ED25519};
use serde_json::{Value, json};
use tests::{
    client::Client,
    server::{Setup, TestServer},
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpListener,
};

/// An Ed25519 key with a name.
struct Key {
    name: &'static str,
    pair: KeyPair,
}

impl Key {
    fn new(name: &'static str) -> anyhow::Result<Self> {
        Ok(Self { name, pair: KeyPair::generate_for(&PKCS_ED25519)? })
    }

    /// As a JWK (RFC 8037).
    fn public(&self) -> Value {
        let x = URL_SAFE_NO_PAD.encode(self.pair.public_key_raw());
        json!({"kty": "OKP", "crv": "Ed25519", "alg": "EdDSA", "kid": self.name, "x": x})
    }

    fn sign(&self, user: &str) -> anyhow::Result<String> {
        let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH)?.as_secs();
        let claims = json!({"sub": user, "tenant": "main", "exp": now + 600});
        let header = Header { kid: Some(self.name.into()), ..Header::new(Algorithm::EdDSA) };
        let key = EncodingKey::from_ed_der(&self.pair.serialize_der());
        Ok(jsonwebtoken::encode(&header, &claims, &key)?)
    }
}

/// Serves whatever `body` holds as JSON; gives the address.
async fn serve(body: Arc<Mutex<String>>) -> anyhow::Result<String> {
    let listener = TcpListener::bind("127.0.0.1:0").await?;
    let address = format!("http://{}/keys", listener.local_addr()?);
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4_096];
            if stream.read(&mut request).await.is_err() {
                continue;
            }
            let body = body.lock().unwrap_or_else(PoisonError::into_inner).clone();
            let head = "HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close";
            let answer = format!("{head}\r\nContent-Length: {}\r\n\r\n{body}", body.len());
            stream.write_all(answer.as_bytes()).await.ok();
        }
    });
    Ok(address)
}

#[tokio::test]
async fn keys_of_an_address_are_fetched_and_fetched_again_for_a_new_name() -> anyhow::Result<()> {
    let (first, second) = (Key::new("first")?, Key::new("second")?);
    let body = Arc::new(Mutex::new(json!({"keys": [first.public()]}).to_string()));
    let address = serve(body.clone()).await?;
    let server = TestServer::start_with(Setup::default().with("AUTH__JWKS", &address)).await?;
    let mut ada = Client::connect_with(&server, Some(&first.sign("ada")?)).await?;
    ada.command("room:1", json!({"type": "createRoom", "title": "r"})).await?;

    // The right name, another's key.
    let forged = Key { name: "first", pair: KeyPair::generate_for(&PKCS_ED25519)? }.sign("ada")?;
    assert!(Client::connect_with(&server, Some(&forged)).await.is_err());
    assert!(Client::connect_with(&server, Some(&second.sign("bob")?)).await.is_err(), "not yet");
    *body.lock().unwrap_or_else(PoisonError::into_inner) =
        json!({"keys": [first.public(), second.public()]}).to_string();
    // Unknown names fetch at most once in five seconds.
    let mut ticks = tokio::time::interval(std::time::Duration::from_millis(250));
    let started = tokio::time::Instant::now();
    let mut bob = loop {
        ticks.tick().await;
        let mut bob = Client::connect_with(&server, None).await?;
        let id = bob.send("auth", json!({"token": second.sign("bob")?})).await?;
        if bob.answer(id).await?.get("ok").is_some() {
            break bob;
        }
        assert!(started.elapsed().as_secs() < 15, "the new key is never fetched");
    };
    bob.command("room:1", json!({"type": "post", "text": "hi"})).await?;
    Ok(())
}

#[tokio::test]
async fn with_a_certificate_it_speaks_tls_only() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
    let (certificate, key) = (folder.path().join("certificate.pem"), folder.path().join("key.pem"));
    std::fs::write(&certificate, made.cert.pem())?;
    std::fs::write(&key, made.signing_key.serialize_pem())?;
    let setup = Setup::default()
        .with("TLS__CERTIFICATE", certificate.to_str().context("a path")?)
        .with("TLS__KEY", key.to_str().context("a path")?);
    let server = TestServer::start_unready_in(folder.path(), setup).await?;
    let root = reqwest::Certificate::from_pem(made.cert.pem().as_bytes())?;
    let client = reqwest::Client::builder().add_root_certificate(root).build()?;
    let port = server.address.rsplit(':').next().context("a port")?;
    let answer = client.get(format!("https://localhost:{port}/live")).send().await?;
    assert_eq!(answer.status(), 200);
    assert!(answer.headers().contains_key("strict-transport-security"));
    assert!(reqwest::get(server.url("/live")).await.is_err(), "no HTTP beside it");
    Ok(())
}
