//! Certificates of servers, on machines whose clock may be wrong.
//!
//! A board without a battery begins in 1970, and where it reaches its broker alone nobody ever tells it
//! the time. By its clock every certificate is of the future, so that judged by the rule it would be
//! kept from those who could help. While nobody keeps the clock right,
//!
//! - it is never before a floor: what the machine knows to be past already;
//! - it is not before what a certificate is valid from, if an authority that is trusted signed it: the
//!   authority had a clock, and what it signed exists.
//!
//! Both only move the time forward. What expired by then is refused, so that a stolen certificate is of no
//! more use than to who stopped the clock at the floor. A clock that is ahead is not corrected: nothing
//! tells it from a right one.

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::CryptoProvider;
use rustls::server::VerifierBuilderError;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use rustls_pki_types::{CertificateDer, ServerName, UnixTime};
use serde::{Deserialize, Serialize};

use crate::validity::Validity;

/// Certificates between a server's and its authority, and its own: what is looked at one after the
/// other, each of which may move the time. No path that is accepted is longer.
const MAX_PATH: usize = 8;

/// What there is to know of a machine's clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Clock {
    /// Somebody keeps it right: what it shows counts.
    pub is_kept: bool,
    /// What it shows at the least when it is right, in Unix seconds.
    pub floor_s: u64,
}

impl Default for Clock {
    /// One that is right.
    fn default() -> Self {
        Self { is_kept: true, floor_s: 0 }
    }
}

impl Clock {
    /// The same, knowing that these certificates of this machine's own exist. Those of authorities may lie
    /// here ahead of their time: they count where a server's path leads to them.
    #[must_use]
    pub fn since<'a>(self, certificates: impl IntoIterator<Item = &'a CertificateDer<'a>>) -> Self {
        let from = |one: &CertificateDer<'_>| u64::try_from(Validity::of(one)?.from).ok();
        let newest = certificates.into_iter().filter_map(from).max().unwrap_or_default();
        Self { floor_s: self.floor_s.max(newest), ..self }
    }

    /// What time it is, as far as anybody here knows, where the clock shows `shown`.
    pub fn now(self, shown: UnixTime) -> UnixTime {
        if self.is_kept { shown } else { shown.max(unix(self.floor_s)) }
    }

    /// Judges the certificates of servers.
    pub fn verifier(
        self,
        roots: RootCertStore,
        provider: Arc<CryptoProvider>,
    ) -> Result<Arc<dyn ServerCertVerifier>, VerifierBuilderError> {
        let rule = WebPkiServerVerifier::builder_with_provider(roots.into(), provider).build()?;
        Ok(Arc::new(Verifier { rule, clock: self }))
    }

    /// Says of a certificate that was refused for its time which times those are; other errors
    /// stay what they are.
    pub fn explain(self, error: io::Error, shown: UnixTime) -> io::Error {
        let inner = error.get_ref().and_then(|inner| inner.downcast_ref::<Error>());
        let Some(Error::InvalidCertificate(wrong)) = inner else { return error };
        let (bound, judged) = match wrong {
            CertificateError::ExpiredContext { time, not_after } => {
                (Bound::Until(not_after.as_secs()), time.as_secs())
            }
            CertificateError::NotValidYetContext { time, not_before } => {
                (Bound::From(not_before.as_secs()), time.as_secs())
            }
            _ => return error,
        };
        let (shown, is_kept) = (shown.as_secs(), self.is_kept);
        io::Error::new(error.kind(), Untimely { bound, judged, shown, is_kept })
    }
}

const fn unix(seconds: u64) -> UnixTime {
    UnixTime::since_unix_epoch(Duration::from_secs(seconds))
}

/// The usual rule, at the time that it is.
#[derive(Debug)]
struct Verifier {
    rule: Arc<WebPkiServerVerifier>,
    clock: Clock,
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        shown: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let mut now = self.clock.now(shown);
        for _ in 0..MAX_PATH {
            let judged = self.rule.verify_server_cert(
                end_entity,
                intermediates,
                server_name,
                ocsp_response,
                now,
            );
            match judged {
                // Nobody has looked at its signature so far. The next round does, and refuses all of
                // it where nobody who is trusted says that it is so late.
                Err(Error::InvalidCertificate(CertificateError::NotValidYetContext {
                    not_before,
                    ..
                })) if !self.clock.is_kept && not_before > now => now = not_before,
                judged => return judged,
            }
        }
        Err(Error::InvalidCertificate(CertificateError::NotValidYet))
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.rule.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        self.rule.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.rule.supported_verify_schemes()
    }
}

/// A certificate is not valid at the time that it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Untimely {
    bound: Bound,
    /// What it was judged by, in Unix seconds.
    judged: u64,
    /// What the clock shows.
    shown: u64,
    is_kept: bool,
}

/// The end of its validity that is missed, in Unix seconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Bound {
    From(u64),
    Until(u64),
}

impl std::error::Error for Untimely {}

impl fmt::Display for Untimely {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.bound {
            Bound::From(at) => write!(f, "its certificate is valid from {}", Shown(at))?,
            Bound::Until(at) => write!(f, "its certificate expired at {}", Shown(at))?,
        }
        let (judged, shown) = (Shown(self.judged), Shown(self.shown));
        if self.judged > self.shown {
            write!(f, ", and it is {judged} at the least, though the clock shows {shown}")
        } else if self.is_kept {
            write!(f, ", and the clock shows {shown}")
        } else {
            write!(f, ", and the clock, which nobody keeps right, shows {shown}")
        }
    }
}

/// Unix seconds, for a person.
struct Shown(u64);

impl fmt::Display for Shown {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = i64::try_from(self.0).ok().and_then(|at| jiff::Timestamp::from_second(at).ok());
        match time {
            Some(time) => time.fmt(f),
            None => self.0.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair, date_time_ymd};

    const YEAR: u64 = 31_556_952;
    /// 2026-01-01.
    const START: u64 = 1_767_225_600;

    type Dates = ((i32, u8, u8), (i32, u8, u8));

    struct Authority {
        der: CertificateDer<'static>,
        issuer: Issuer<'static, KeyPair>,
    }

    fn params((from, to): Dates) -> CertificateParams {
        let mut params = CertificateParams::new(vec!["broker".to_owned()]).unwrap();
        params.not_before = date_time_ymd(from.0, from.1, from.2);
        params.not_after = date_time_ymd(to.0, to.1, to.2);
        params
    }

    fn authority(dates: Dates) -> Authority {
        let mut params = params(dates);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        let der = params.self_signed(&key).unwrap().der().clone();
        Authority { der, issuer: Issuer::new(params, key) }
    }

    impl Authority {
        fn sign(&self, dates: Dates) -> CertificateDer<'static> {
            let key = KeyPair::generate().unwrap();
            params(dates).signed_by(&key, &self.issuer).unwrap().der().clone()
        }

        /// An authority that this one has signed.
        fn below(&self, dates: Dates) -> Authority {
            let mut params = params(dates);
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
            params.distinguished_name.push(rcgen::DnType::CommonName, "between");
            let key = KeyPair::generate().unwrap();
            let der = params.signed_by(&key, &self.issuer).unwrap().der().clone();
            Authority { der, issuer: Issuer::new(params, key) }
        }

        /// What becomes of a server's certificates where the clock shows `shown`.
        fn judge(
            &self,
            clock: Clock,
            shown: u64,
            chain: &[CertificateDer<'_>],
        ) -> Result<(), String> {
            let mut roots = RootCertStore::empty();
            roots.add(self.der.clone()).unwrap();
            let provider = Arc::new(rustls::crypto::ring::default_provider());
            let verifier = clock.verifier(roots, provider).unwrap();
            let (own, between) = chain.split_first().unwrap();
            let name = ServerName::try_from("broker").unwrap();
            let judged = verifier.verify_server_cert(own, between, &name, &[], unix(shown));
            judged.map(drop).map_err(|error| {
                let error = io::Error::new(io::ErrorKind::InvalidData, error);
                clock.explain(error, unix(shown)).to_string()
            })
        }
    }

    const LONG: Dates = ((2020, 1, 1), (2050, 1, 1));
    const UNKEPT: Clock = Clock { is_kept: false, floor_s: START };

    #[test]
    fn a_clock_of_1970_takes_certificates_that_are_valid_at_the_floor_or_later() {
        let root = authority(LONG);
        for dates in [((2025, 1, 1), (2027, 1, 1)), ((2029, 1, 1), (2030, 1, 1))] {
            let own = [root.sign(dates)];
            assert_eq!(root.judge(UNKEPT, 9, &own), Ok(()), "{dates:?}");
        }
        let own = [root.sign(((2029, 1, 1), (2030, 1, 1)))];
        let error = root.judge(Clock::default(), START, &own).expect_err("of the future");
        assert_eq!(
            error,
            "its certificate is valid from 2029-01-01T00:00:00Z, and the clock shows \
             2026-01-01T00:00:00Z"
        );
    }

    #[test]
    fn what_expired_before_the_floor_is_refused_and_both_times_are_named() {
        let root = authority(LONG);
        let own = [root.sign(((2025, 1, 1), (2025, 12, 31)))];
        let error = root.judge(UNKEPT, 9, &own).expect_err("expired");
        assert_eq!(
            error,
            "its certificate expired at 2025-12-31T00:00:00Z, and it is 2026-01-01T00:00:00Z at \
             the least, though the clock shows 1970-01-01T00:00:09Z"
        );
    }

    #[test]
    fn a_clock_that_is_ahead_refuses_by_the_rule_and_is_named() {
        let root = authority(LONG);
        let own = [root.sign(((2025, 1, 1), (2027, 1, 1)))];
        let error = root.judge(UNKEPT, START + 74 * YEAR, &own).expect_err("expired by the clock");
        assert!(error.contains("expired at 2027-01-01T00:00:00Z"), "{error}");
        assert!(error.contains("the clock, which nobody keeps right, shows 2099-12-31"), "{error}");
        let kept = Clock { is_kept: true, ..UNKEPT };
        let error = root.judge(kept, START + 2 * YEAR, &own).expect_err("expired");
        assert!(error.contains(", and the clock shows 2028-01-01"), "{error}");
    }

    #[test]
    fn every_certificate_of_a_path_may_move_the_time_and_then_all_are_judged_by_it() {
        let root = authority(LONG);
        let between = root.below(((2028, 1, 1), (2040, 1, 1)));
        let own = between.sign(((2027, 1, 1), (2030, 1, 1)));
        assert_eq!(root.judge(UNKEPT, 9, &[own, between.der.clone()]), Ok(()));
        // The one below it had expired before it began: there is no time at which both are valid.
        let own = between.sign(((2026, 1, 1), (2027, 1, 1)));
        let error = root.judge(UNKEPT, 9, &[own, between.der.clone()]).expect_err("never valid");
        assert!(error.contains("it is 2028-01-01T00:00:00Z at the least"), "{error}");
    }

    #[test]
    fn who_is_not_trusted_moves_nothing() {
        let (root, stranger) = (authority(LONG), authority(LONG));
        let own = [stranger.sign(((2029, 1, 1), (2030, 1, 1)))];
        let error = root.judge(UNKEPT, 9, &own).expect_err("nobody vouches for it");
        assert!(!error.contains("valid from"), "{error}");
    }

    #[test]
    fn the_floor_is_as_late_as_the_newest_certificate_that_is_here() {
        let root = authority(((2027, 1, 1), (2050, 1, 1)));
        let own = root.sign(((2028, 1, 1), (2030, 1, 1)));
        let clock = UNKEPT.since([&root.der, &own]);
        assert_eq!(clock.floor_s, 1_830_297_600);
        let nothing = CertificateDer::from(b"noise".to_vec());
        assert_eq!(UNKEPT.since([&nothing]), UNKEPT);
        assert_eq!(clock.now(unix(9)), unix(1_830_297_600));
        assert_eq!(Clock { is_kept: true, ..clock }.now(unix(9)), unix(9));
    }
}
