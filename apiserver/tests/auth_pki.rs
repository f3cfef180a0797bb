//! Certificates, keys and tokens as the API server makes and checks them.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use kstore_apiserver::auth::authentication::peer_user;
use kstore_apiserver::pki::authority::is_due;
use kstore_apiserver::pki::kubeconfig::Kubeconfig;
use kstore_apiserver::pki::{
    Authority, Certificate, Pair, PublicKey, SigningKey, SubjectNames, pem,
};

const NOW: i64 = 1_795_278_645;
const DAY: i64 = 86_400;

fn parse(pair: &Pair) -> Certificate {
    Certificate::parse(&pem::certificate(&pair.certificate).unwrap()).unwrap()
}

#[test]
fn a_client_certificate_says_who_it_is_and_in_which_group() {
    let authority = Authority::create(NOW).unwrap();
    let pair = authority.client("system:node:a", &["system:nodes", "more"], NOW).unwrap();
    let der = pem::certificate(&pair.certificate).unwrap();
    let peer = peer_user(&der).unwrap();
    assert_eq!(peer.user.name, "system:node:a");
    assert_eq!(peer.user.groups, ["system:nodes", "more", "system:authenticated"]);
    let id = &peer.user.extra("authentication.kubernetes.io/credential-id")[0];
    assert!(id.starts_with("X509SHA256=") && id.len() == 11 + 64, "{id}");
    assert_eq!(peer.expires, NOW + 365 * DAY);
    assert!(!format!("{pair:?}{authority:?}").contains("PRIVATE"));
}

#[test]
fn a_serving_certificate_has_every_name_and_is_renewed_when_one_is_added() {
    let authority = Authority::create(NOW).unwrap();
    let mut names = SubjectNames::of_api_server("10.96.0.1".parse().unwrap());
    names.add("machine-1");
    names.add("192.0.2.7");
    names.add("127.0.0.1");
    let certificate = parse(&authority.serving(&names, NOW).unwrap());
    assert!(names.are_covered_by(&certificate));
    assert_eq!(
        certificate.dns_names,
        [
            "kubernetes",
            "kubernetes.default",
            "kubernetes.default.svc",
            "kubernetes.default.svc.cluster.local",
            "localhost",
            "machine-1"
        ]
    );
    let addresses: Vec<String> = certificate.addresses.iter().map(ToString::to_string).collect();
    assert_eq!(addresses, ["127.0.0.1", "::1", "10.96.0.1", "192.0.2.7"]);
    names.add("machine-2");
    assert!(!names.are_covered_by(&certificate));
}

#[test]
fn a_certificate_is_renewed_in_the_last_quarter_of_its_life_and_with_its_authority() {
    let authority = Authority::create(NOW).unwrap();
    let pair = authority.client("a", &[], NOW).unwrap();
    assert!(!is_due(&pair, &authority, NOW));
    assert!(!is_due(&pair, &authority, NOW + 270 * DAY));
    assert!(is_due(&pair, &authority, NOW + 280 * DAY));
    assert!(is_due(&pair, &Authority::create(NOW + DAY).unwrap(), NOW + DAY));
    let damaged = Pair { certificate: "x".to_owned(), ..pair };
    assert!(is_due(&damaged, &authority, NOW));
    assert_eq!(parse(authority.pair()).not_after, NOW + 3_653 * DAY);
}

#[test]
fn a_loaded_authority_signs_what_the_made_one_would_be_trusted_for() {
    let made = Authority::create(NOW).unwrap();
    let loaded = Authority::load(made.pair().clone()).unwrap();
    let leaf = loaded.client("a", &[], NOW + DAY).unwrap();
    let root = pem::certificate(&made.pair().certificate).unwrap();
    let leaf = pem::certificate(&leaf.certificate).unwrap();
    trust(&root, &leaf, NOW + DAY).unwrap();
    let other = Authority::create(NOW).unwrap();
    let mixed =
        Pair { certificate: made.pair().certificate.clone(), key: other.pair().key.clone() };
    assert!(Authority::load(mixed).is_err());
    // A leaf signs nothing, whoever holds its key.
    let stranger = Authority::load(made.client("a", &[], NOW).unwrap()).unwrap();
    let forged = stranger.client("root", &["system:masters"], NOW).unwrap();
    let forged = pem::certificate(&forged.certificate).unwrap();
    assert!(trust(&root, &forged, NOW).is_err());
}

#[test]
fn names_that_are_none_are_not_certified() {
    let authority = Authority::create(NOW).unwrap();
    for wrong in ["a..b", "", "a b", "é", "*.*.a", "a/b", "a\0b"] {
        let names = SubjectNames { dns: vec![wrong.to_owned()], addresses: Vec::new() };
        assert!(authority.serving(&names, NOW).is_err(), "{wrong}");
    }
    let names = SubjectNames { dns: vec!["*.a-1.b_c".to_owned()], addresses: Vec::new() };
    assert!(authority.serving(&names, NOW).is_ok());
}

#[test]
fn certificates_are_dated_on_both_sides_of_2050() {
    for now in [NOW, 2_524_607_999 - 365 * DAY, 2_524_607_999, 4_102_444_800] {
        let authority = Authority::create(now).unwrap();
        let certificate = parse(&authority.client("a", &[], now).unwrap());
        assert_eq!(certificate.not_after, now + 365 * DAY);
        assert_eq!(certificate.not_before, now - 300);
        let root = pem::certificate(&authority.pair().certificate).unwrap();
        let leaf = authority.client("a", &[], now).unwrap();
        trust(&root, &pem::certificate(&leaf.certificate).unwrap(), now).unwrap();
    }
}

/// Asks the library that TLS uses whether the leaf comes from the root.
fn trust(root: &[u8], leaf: &[u8], now: i64) -> Result<(), String> {
    use rustls_pki_types::{CertificateDer, UnixTime};
    let root = CertificateDer::from(root.to_vec());
    let mut roots = rustls::RootCertStore::empty();
    roots.add(root).map_err(|e| e.to_string())?;
    let provider = std::sync::Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(
        std::sync::Arc::new(roots),
        provider,
    )
    .build()
    .map_err(|e| e.to_string())?;
    let leaf = CertificateDer::from(leaf.to_vec());
    let time = UnixTime::since_unix_epoch(std::time::Duration::from_secs(now.unsigned_abs()));
    verifier.verify_client_cert(&leaf, &[], time).map(|_| ()).map_err(|e| e.to_string())
}

#[test]
fn damaged_certificates_are_nobodys() {
    let authority = Authority::create(NOW).unwrap();
    let pair = authority.client("a", &["b"], NOW).unwrap();
    let der = pem::certificate(&pair.certificate).unwrap();
    for end in 0..der.len() {
        assert_eq!(Certificate::parse(&der[..end]), None, "{end}");
    }
    for place in 0..der.len() {
        for bit in 0..8 {
            let mut changed = der.clone();
            changed[place] ^= 1 << bit;
            drop(Certificate::parse(&changed));
        }
    }
}

#[test]
fn a_kubeconfig_holds_everything_in_one_file() {
    let authority = Authority::create(NOW).unwrap();
    let client = authority.client("admin", &["system:masters"], NOW).unwrap();
    let config = Kubeconfig {
        cluster: "kstore",
        user: "admin",
        server: "https://127.0.0.1:6443",
        authority: &authority.pair().certificate,
        client: &client,
    };
    let text = config.to_yaml();
    assert!(text.contains("current-context: \"admin@kstore\"\n"), "{text}");
    assert!(text.contains("    server: \"https://127.0.0.1:6443\"\n"), "{text}");
    assert_eq!(text.matches("-data: LS0tLS1CRUdJTi").count(), 3);
}

#[test]
fn keys_sign_and_check_and_have_upstreams_ids() {
    let key = SigningKey::from_pem(&SigningKey::generate().unwrap()).unwrap();
    let signature = key.sign(b"message").unwrap();
    assert_eq!(signature.len(), 64);
    assert!(key.public().verifies(b"message", &signature));
    assert!(!key.public().verifies(b"massage", &signature));
    assert!(!key.public().verifies(b"message", &[]));
    let jwk = key.public().to_jwk();
    assert_eq!(jwk["alg"], "ES256");
    assert_eq!(jwk["x"].as_str().unwrap().len(), 43);
    assert!(PublicKey::all_from_pem("nothing").is_err());
}

#[test]
fn keys_are_read_in_every_form_that_installers_write() {
    let made = "-----BEGIN EC PRIVATE KEY-----\n\
        MHcCAQEEIHGcEwJAJ8bwgyqNMwn5kAbkQmcPKyDvQVwqnQtuJQ6XoAoGCCqGSM49\n\
        -----END EC PRIVATE KEY-----\n";
    assert!(SigningKey::from_pem(made).is_err());
    let (ec, ec_public) = (include_str!("keys/ec.pem"), include_str!("keys/ec.pub.pem"));
    let (rsa, rsa_public) = (include_str!("keys/rsa.pem"), include_str!("keys/rsa.pub.pem"));
    for (private, public) in [(ec, ec_public), (rsa, rsa_public)] {
        let key = SigningKey::from_pem(private).unwrap();
        let read = PublicKey::all_from_pem(public).unwrap();
        assert_eq!(read, [key.public().clone()]);
        let signature = key.sign(b"message").unwrap();
        assert!(read[0].verifies(b"message", &signature));
    }
    let both = PublicKey::all_from_pem(&format!("{rsa}{ec_public}")).unwrap();
    assert_eq!(both.len(), 2);
    assert_eq!(both[0].to_jwk()["e"], "AQAB");
}
