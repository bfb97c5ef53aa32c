use super::*;

const SOURCE: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

async fn access() -> (Access, Registry) {
    let text = "store: {url: memory}\nmaster_key: sk-master\nkeys:\n- {name: alice, key: sk-alice, agents: [echo]}\n- {name: bob, key: sk-bob, agents: []}\nagents:\n- {name: echo, url: 'http://h', aliases: [e]}\n- {name: other, url: 'http://h'}";
    let settings = crate::config::parse(text, &|_| None).unwrap();
    let store = Arc::new(Store::open(&settings.store, Clock).await.unwrap());
    (Access::new(&settings, store, Clock), Registry::new(&settings.agents))
}

fn headers(pairs: &[(&'static str, &'static str)]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for (name, value) in pairs {
        headers.append(*name, value.parse().unwrap());
    }
    headers
}

#[tokio::test]
async fn knows_a_key_by_any_of_its_headers() {
    let (access, _) = access().await;
    for carried in [
        vec![("authorization", "Bearer sk-alice")],
        vec![("authorization", "bearer  sk-alice")],
        vec![("x-api-key", "sk-alice")],
        vec![("x-litellm-api-key", "Bearer sk-alice")],
        vec![("x-litellm-api-key", "sk-alice"), ("authorization", "Bearer sk-alice")],
    ] {
        assert_eq!(&*access.identify(&headers(&carried), SOURCE).await.unwrap().name, "alice", "{carried:?}");
    }
}

#[tokio::test]
async fn refuses_missing_unknown_repeated_and_disagreeing_keys() {
    let (access, _) = access().await;
    for carried in [
        vec![],
        vec![("authorization", "Bearer sk-nobody")],
        vec![("authorization", "Basic sk-alice")],
        vec![("authorization", "Bearer ")],
        vec![("x-api-key", "sk-alice"), ("x-api-key", "sk-alice")],
        vec![("x-api-key", "sk-alice"), ("authorization", "Bearer sk-bob")],
        vec![("x-api-key", "sk-alice"), ("authorization", "Bearer nonsense")],
    ] {
        assert_eq!(
            access.identify(&headers(&carried), SOURCE).await.unwrap_err().kind(),
            Kind::Unauthenticated,
            "{carried:?}"
        );
    }
}

#[tokio::test]
async fn hides_agents_without_a_grant_as_if_they_did_not_exist() {
    let (access, registry) = access().await;
    let alice = access.identify(&headers(&[("x-api-key", "sk-alice")]), SOURCE).await.unwrap();
    let name = |name: &str| AgentName(name.into());
    assert!(access.visible(&registry, &alice, &name("echo")).is_ok());
    assert!(access.visible(&registry, &alice, &name("e")).is_ok());
    let hidden = access.visible(&registry, &alice, &name("other")).unwrap_err();
    let absent = access.visible(&registry, &alice, &name("otter")).unwrap_err();
    assert_eq!(hidden.kind(), Kind::AgentNotFound);
    assert_eq!(hidden.message().replace("other", "otter"), absent.message());
    let master = access.identify(&headers(&[("x-api-key", "sk-master")]), SOURCE).await.unwrap();
    assert!(access.visible(&registry, &master, &name("other")).is_ok());
}
