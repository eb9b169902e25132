//! Gets access where a registry asks for it: nobody's, or with what the node's files hold.

use hyper::body::Incoming;
use hyper::header::{HeaderMap, HeaderValue, WWW_AUTHENTICATE};
use hyper::{Method, Response, StatusCode};

use super::answer::whole;
use super::auth::{Challenge, MAX_TOKEN_ANSWER, TokenAnswer};
use super::client::{Client, Question};
use super::credentials::{Credential, Keyring};
use super::endpoint::Endpoint;
use super::error::RegistryError;
use super::transport::protocol;
use super::url::{Url, push_query};

/// What stands in a text where a secret stood.
const HIDDEN: &str = "[hidden]";
/// Shorter texts are no secrets worth a mangled message.
const MIN_SECRET: usize = 3;

/// What opened the registry last, and what else may.
pub(super) struct Access {
    keyring: Keyring,
    granted: Option<Granted>,
    /// Everything that was shown to anybody, so that no answer brings it into a message.
    secrets: Vec<String>,
}

/// A header that a registry accepted.
struct Granted {
    /// For whom.
    name: String,
    header: HeaderValue,
}

impl Access {
    pub(super) const fn new(keyring: Keyring) -> Self {
        Self { keyring, granted: None, secrets: Vec::new() }
    }

    /// A text of somebody else without our secrets.
    pub(super) fn hide(&self, text: &str) -> String {
        let secrets = self.secrets.iter().filter(|secret| secret.len() >= MIN_SECRET);
        secrets.fold(text.to_owned(), |text, secret| text.replace(secret, HIDDEN))
    }

    fn header(&self, endpoint: &Endpoint) -> Option<HeaderValue> {
        let granted = self.granted.as_ref().filter(|granted| granted.name == endpoint.name);
        granted.map(|granted| granted.header.clone())
    }
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
        let response = self.follow(&question, access.as_ref()).await?;
        if response.status() != StatusCode::UNAUTHORIZED {
            return Ok(response);
        }
        self.access.granted = None;
        let host = question.url.origin.to_string();
        let header = response.headers().get(WWW_AUTHENTICATE);
        let challenge = Challenge::parse(header.and_then(|h| h.to_str().ok()).unwrap_or_default());
        drop(response);
        let mut credentials: Vec<_> =
            self.access.keyring.matching(&endpoint.name).into_iter().map(Some).collect();
        if credentials.is_empty() {
            credentials.push(None);
        }
        let mut refusals: Vec<String> = Vec::new();
        for credential in credentials {
            if let Some(credential) = &credential {
                self.access.secrets.extend(credential.secrets());
            }
            let refused = match self.try_access(&question, &challenge, credential.as_ref()).await {
                Err(RegistryError::Denied { text, .. }) => text,
                result => return result,
            };
            let text = match &credential {
                Some(credential) => format!("as {:?}: {refused}", credential.user()),
                None => refused,
            };
            if !refusals.contains(&text) {
                refusals.push(text);
            }
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
        let header = match challenge {
            Challenge::Bearer { realm, service, scope } => {
                let scope = scope.clone().unwrap_or_else(|| {
                    let name = &question.endpoint.name;
                    let repository = name.split_once('/').map_or("", |(_, repository)| repository);
                    format!("repository:{repository}:pull")
                });
                let address = token_address(realm, service.as_deref(), &scope, credential);
                self.fetch_token(question, &address, credential).await?
            }
            Challenge::Basic => credential.map(Credential::basic).ok_or_else(|| {
                let name = &question.endpoint.name;
                denied(format!(
                    "it wants a user name and password, and this node has none for {name}"
                ))
            })?,
            Challenge::Unknown(scheme) => {
                let text = format!("it wants authentication of the unknown kind {scheme:?}");
                return Err(denied(text));
            }
        };
        let response = self.follow(question, Some(&header)).await?;
        if matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN) {
            return Err(self.refusal(response, &host, "access").await);
        }
        let name = question.endpoint.name.clone();
        self.access.granted = Some(Granted { name, header });
        Ok(response)
    }

    async fn fetch_token(
        &mut self,
        question: &Question<'_>,
        address: &str,
        credential: Option<&Credential>,
    ) -> Result<HeaderValue, RegistryError> {
        let host = question.url.origin.to_string();
        let url = Url::parse(address)
            .ok_or_else(|| protocol(&host, "its token server has an impossible address"))?;
        if question.url.origin.tls && !url.origin.tls {
            return Err(protocol(&host, "its token server would be asked by plain HTTP"));
        }
        let host = url.origin.to_string();
        let asked = Question { method: Method::GET, url, headers: HeaderMap::new(), ..*question };
        let response = self.follow(&asked, credential.map(Credential::basic).as_ref()).await?;
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
        self.access.secrets.extend(token);
        Ok(header)
    }
}

/// Where to fetch a token, and what for.
fn token_address(
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
