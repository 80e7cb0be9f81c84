import pytest
from tests.e2e.argocd.conftest import *
pytestmark = pytest.mark.e2e
def test_try(site, agent_with, fresh):
    a = agent_with(applications("*", "team-a/*"))
    for c in ["version --short", "app list", "app get team-a-app", "app get payments-app", "app get nope", "proj list", "repo list", "cluster list", "account get-user-info", "account can-i sync applications team-a/web", "account can-i sync applications payments/web","app diff team-a-app","app sync team-a-app --timeout 30", "app get team-a-app -o name"]:
        x = a.run(c)
        print("==", c, x.status, x.fields.get("duration_seconds")); print(x.text[:1500])
