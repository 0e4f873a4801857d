# An agent of a server, with a second one beside it, a nightly job and a webhook.
{ config, pkgs, ... }:
{
  services.hermes-agent = {
    enable = true;
    settings.model.default = "anthropic/claude-sonnet-4";
    environmentFiles = [ "/run/secrets/hermes-env" ];
    addToSystemPackages = true;

    homeFiles."SOUL.md" = "You look after this machine.";
    documents."USER.md" = "Prefers short answers.";
    extraPackages = [ pkgs.pandoc ];

    mcpServers.remote = {
      url = "https://mcp.example.com/v1/mcp";
      headers.Authorization = "Bearer \${MCP_REMOTE_API_KEY}";
      timeout = 180;
    };

    cron.digest = {
      schedule = "every weekday at 08:00";
      prompt = "What happened on this machine since yesterday?";
    };
    webhooks.deploys = {
      prompt = "Deployed: {service}";
      deliver_only = true;
      secret = "\${DEPLOY_SECRET}";
    };

    profiles.research = {
      description = "Reads papers";
      settings.model.default = "google/gemini-3-flash";
      environmentFiles = [ "/run/secrets/research-env" ];
    };
  };
}
