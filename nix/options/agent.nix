# What one agent has: at the top, and again below `profiles.<name>`.
{ lib }:
let
  inherit (lib) mkOption literalExpression types;
  mcp = import ./mcp.nix { inherit lib; };
  json = import ./json.nix { inherit lib; };

  entries =
    what: example:
    mkOption {
      type = types.attrsOf (types.submodule { freeformType = types.attrsOf json; });
      default = { };
      inherit example;
      description = what;
    };
in
{
  options = {
    settings = mkOption {
      type = types.submodule { freeformType = types.attrsOf json; };
      default = { };
      example = literalExpression ''{ model.default = "anthropic/claude-sonnet-4"; agent.max_turns = 60; }'';
      description = ''
        config.yaml, deeply merged over all definitions. What is declared here wins over what is in the file; keys that
        are not declared stay. A key of `null` is not declared. Everybody can read it in the store: refer to a secret
        as `''${NAME}` and put the value into `environmentFiles`.
      '';
    };

    configFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = "/etc/hermes/config.yaml";
      description = "A config.yaml of your own, copied as it is at each start, in place of `settings` and `mcpServers`.";
    };

    environment = mkOption {
      type = types.attrsOf types.str;
      default = { };
      example = literalExpression ''{ LOG_LEVEL = "info"; }'';
      description = "Variables of the home's .env that are no secrets: everybody can read them in the store.";
    };

    environmentFiles = mkOption {
      type = types.listOf types.str;
      default = [ ];
      example = literalExpression ''[ config.sops.secrets."hermes-env".path ]'';
      description = ''
        Files of `NAME=value` lines for the home's .env, which is written anew at each start; later ones win. A `-`
        before a path: it may be missing, and is read as the agent's own user.
      '';
    };

    authFile = mkOption {
      type = types.nullOr types.path;
      default = null;
      example = literalExpression ''config.sops.secrets."hermes/auth.json".path'';
      description = "The first auth.json. What the agent renews in it later stays.";
    };

    authFileForceOverwrite = mkOption {
      type = types.bool;
      default = false;
      description = "Put `authFile` in the place of auth.json at each start.";
    };

    documents = mkOption {
      type = types.attrsOf (types.either types.str types.path);
      default = { };
      example = literalExpression ''{ "USER.md" = ./USER.md; }'';
      description = ''
        Files of the working directory: text, or a path. One that is no longer declared goes; one that was edited is
        kept beside as `.bak`.
      '';
    };

    homeFiles = mkOption {
      type = types.attrsOf (types.either types.str types.path);
      default = { };
      example = literalExpression ''{ "SOUL.md" = "You are terse."; }'';
      description = "Files of the home itself, like `documents`: SOUL.md, scripts of jobs.";
    };

    mcpServers = mcp;

    cron = entries "Jobs by name; the fields are those of `hermesctl cron create` (docs/cron.md)." (
      literalExpression ''{ digest = { schedule = "every weekday at 08:00"; prompt = "What is new?"; }; }''
    );

    webhooks = entries "Webhooks by name; the fields are those of `platforms.webhook.routes` (docs/webhooks.md)." (
      literalExpression ''{ deploys = { prompt = "Deployed: {service}"; deliver_only = true; }; }''
    );

    watches = entries "Watchers by name; the fields are those of `hermesctl watch add` (docs/watchers.md)." (
      literalExpression ''{ notes = { files = [ "/srv/notes/*.md" ]; prompt = "What changed?"; }; }''
    );
  };
}
