//! Gets access where a registry asks for it: nobody's, or with what docker's files hold.

use std::collections::{BTreeMap, VecDeque};

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Response, StatusCode};

use super::answer::whole;
use super::auth::{Challenge, MAX_TOKEN_ANSWER, TokenAnswer};
use super::client::{Client, Question};
use super::credentials::{Credential, Keyring};
use super::endpoint::Endpoint;
use super::error::RegistryError;
use super::hide;
use super::transport::protocol;
use super::url::{Url, push_query};

/// Shorter texts are no secrets worth a mangled message.
const MIN_SECRET: usize = 3;
/// Those that are remembered: each credential is several, and tokens follow one another.
const MAX_SECRETS: usize = 64;

/// What opened each repository last, and what else may.
pub(super) struct Access {
    keyring: Keyring,
    /// By `registry/repository`, or `mirror/repository`.
    granted: BTreeMap<String, Granted>,
    /// What was shown to anybody lately, so that no answer brings it into a message.
    secrets: VecDeque<String>,
}

/// A header that a registry accepted.
struct Granted {
    header: HeaderValue,
    /// Those of it: it is shown again when many others were shown since.
    secrets: Vec<String>,
}

/// What gives access, and what of it nobody else should read.
type Key = (HeaderValue, Vec<String>);

impl Access {
    pub(super) const fn new(keyring: Keyring) -> Self {
        Self { keyring, granted: BTreeMap::new(), secrets: VecDeque::new() }
    }

    /// Remembers what is shown to somebody.
    fn shown(&mut self, secrets: impl IntoIterator<Item = String>) {
        for secret in secrets.into_iter().filter(|secret| is_worth_hiding(secret)) {
            if !self.secrets.contains(&secret) {
                self.secrets.push_back(secret);
            }
            if self.secrets.len() > MAX_SECRETS {
                self.secrets.pop_front();
            }
        }
    }

    /// A text of somebody else without our secrets.
    pub(super) fn hide(&self, text: &str) -> String {
        let granted = self.granted.values().flat_map(|granted| &granted.secrets);
        let secrets: Vec<&str> = self.secrets.iter().chain(granted).map(String::as_str).collect();
        hide::hide(text, &secrets)
    }

    fn header(&self, endpoint: &Endpoint) -> Option<HeaderValue> {
        self.granted.get(&endpoint.name).map(|granted| granted.header.clone())
    }
}

fn is_worth_hiding(secret: &str) -> bool {
    secret.len() >= MIN_SECRET
}

impl Client {
    /// Asks; when told to authenticate, does so and asks again.
    ///
    /// Each credential that matches is tried until one opens. Where some match, nobody's access is
    /// not tried any more, as with a kubelet.
    pub(super) async fn ask(
        &mut self,
        question: Question<'_>,
    ) -> Result<Response<Incoming>, RegistryError> {
        let endpoint = question.endpoint;
        let access = self.access.header(endpoint);
        let (response, who) = self.follow(&question, access.as_ref()).await?;
        // What somebody asks for to whom we were redirected is not the registry's question.
        if response.status() != StatusCode::UNAUTHORIZED || who != question.url.origin {
            return Ok(response);
        }
        self.access.granted.remove(&endpoint.name);
        let host = question.url.origin.to_string();
        let headers = response.headers().get_all(WWW_AUTHENTICATE).into_iter();
        let challenge = Challenge::of(headers.filter_map(|header| header.to_str().ok()));
        drop(response);
        let mut credentials: Vec<_> =
            self.access.keyring.matching(&endpoint.name).into_iter().map(Some).collect();
        if credentials.is_empty() {
            credentials.push(None);
        }
        let mut refusals: Vec<String> = Vec::new();
        let last = credentials.len() - 1;
        for (place, credential) in credentials.into_iter().enumerate() {
            if let Some(credential) = &credential {
                self.access.shown(credential.secrets());
            }
            let tried = self.try_access(&question, &challenge, credential.as_ref()).await;
            let refused = match tried {
                Err(error @ RegistryError::Denied { .. }) => error,
                // Some say of what is not for this name that it is not there.
                Err(error) if place < last && error.is_refusal() => error,
                result => return result,
            };
            let refused = match refused {
                RegistryError::Denied { text, .. } => text,
                other => other.to_string(),
            };
            let text = match &credential {
                Some(credential) => format!("with the entry for {}: {refused}", credential.key()),
                None => refused,
            };
            if !refusals.contains(&text) {
                refusals.push(text);
            }
        }
        if self.access.keyring.matching(&endpoint.name).is_empty() {
            // They may have held what is missing.
            refusals.extend(self.access.keyring.passed_over().iter().take(2).cloned());
        }
        Err(RegistryError::Denied { host, text: refusals.join("; ") })
    }

    /// Asks with one credential, or as nobody.
    async fn try_access(
        &mut self,
        question: &Question<'_>,
        challenge: &Challenge,
        credential: Option<&Credential>,
    ) -> Result<Response<Incoming>, RegistryError> {
        let host = question.url.origin.to_string();
        let denied = |text: String| RegistryError::Denied { host: host.clone(), text };
        let (header, secrets) = match challenge {
            Challenge::Bearer { realm, service, scope } => {
                let scope = scope.clone().unwrap_or_else(|| {
                    let name = &question.endpoint.name;
                    let repository = name.split_once('/').map_or("", |(_, repository)| repository);
                    format!("repository:{repository}:pull")
                });
                let address = token_address(realm, service.as_deref(), &scope, credential);
                self.fetch_token(question, &address, credential).await?
            }
            Challenge::Basic => {
                let key = credential.map(|known| (known.basic(), known.secrets()));
                let name = &question.endpoint.name;
                key.ok_or_else(|| {
                    let wants = "it wants a user name and password, and there is none for";
                    denied(format!("{wants} {name}"))
                })?
            }
            Challenge::Unknown(scheme) => {
                let text = format!("it wants authentication of the unknown kind {scheme:?}");
                return Err(denied(text));
            }
        };
        let (response, _) = self.follow(question, Some(&header)).await?;
        let status = response.status();
        // These two are not about whoever asks.
        let others = [StatusCode::TOO_MANY_REQUESTS, StatusCode::METHOD_NOT_ALLOWED];
        if status.is_client_error() && !others.contains(&status) {
            return Err(self.refusal(response, &host, &question.what).await);
        }
        let secrets = secrets.into_iter().filter(|secret| is_worth_hiding(secret)).collect();
        self.access.granted.insert(question.endpoint.name.clone(), Granted { header, secrets });
        Ok(response)
    }

    async fn fetch_token(
        &mut self,
        question: &Question<'_>,
        address: &str,
        credential: Option<&Credential>,
    ) -> Result<Key, RegistryError> {
        let host = question.url.origin.to_string();
        let url = Url::parse(address)
            .ok_or_else(|| protocol(&host, "its token server has an impossible address"))?;
        // A name and a password go by plain HTTP only to those of whom the operator said so.
        let may_be_plain = !question.url.origin.tls
            && (credential.is_none() || self.transport.is_plain(&url.origin.to_string()));
        if !url.origin.tls && !may_be_plain {
            return Err(protocol(&host, "its token server would be asked by plain HTTP"));
        }
        let host = url.origin.to_string();
        let asked = Question {
            method: Method::GET,
            endpoint: question.endpoint,
            url,
            headers: HeaderMap::new(),
            what: "token".to_owned(),
        };
        let basic = credential.map(Credential::basic);
        let (response, _) = self.follow(&asked, basic.as_ref()).await?;
        if response.status() != StatusCode::OK {
            return Err(self.refusal(response, &host, "token").await);
        }
        let idle = self.transport.timeouts().idle;
        let body = whole(response, MAX_TOKEN_ANSWER, &host, idle).await?;
        let answer: Option<TokenAnswer> = serde_json::from_slice(&body).ok();
        let token = answer.and_then(TokenAnswer::into_token);
        let header =
            token.as_ref().and_then(|token| HeaderValue::from_str(&format!("Bearer {token}")).ok());
        let mut header =
            header.ok_or_else(|| protocol(&host, "its answer to a token request has no token"))?;
        header.set_sensitive(true);
        self.access.shown(token.clone());
        Ok((header, token.into_iter().collect()))
    }
}

/// Where to fetch a token, and what for.
pub(super) fn token_address(
    realm: &str,
    service: Option<&str>,
    scope: &str,
    credential: Option<&Credential>,
) -> String {
    let mut address = realm.to_owned();
    if let Some(service) = service {
        push_query(&mut address, "service", service);
    }
    push_query(&mut address, "scope", scope);
    if let Some(credential) = credential {
        push_query(&mut address, "account", credential.user());
    }
    address
}
