# `mcpServers`: the keys that people set, with their types; the others of `mcp_servers.<name>` can be given, too.
{ lib }:
let
  inherit (lib) mkOption literalExpression types;
  json = import ./json.nix { inherit lib; };

  orNull =
    type: description:
    mkOption {
      type = types.nullOr type;
      default = null;
      inherit description;
    };
  words =
    description:
    mkOption {
      type = types.listOf types.str;
      default = [ ];
      inherit description;
    };
  variables =
    description:
    mkOption {
      type = types.attrsOf types.str;
      default = { };
      inherit description;
    };

  tools = types.submodule {
    freeformType = types.attrsOf json;
    options = {
      include = words "Only these of its tools, by the server's own names.";
      exclude = words "None of these of its tools.";
    };
  };

  sampling = types.submodule {
    freeformType = types.attrsOf json;
    options = {
      enabled = mkOption {
        type = types.bool;
        default = true;
        description = "Whether it may ask our model, at our cost.";
      };
      model = orNull types.str "Model that answers it.";
      max_tokens_cap = orNull types.int "Longest answer it gets, in tokens.";
      timeout = orNull types.number "Seconds that such a request may take.";
      max_rpm = orNull types.int "Such requests a minute.";
    };
  };
in
mkOption {
  type = types.attrsOf (
    types.submodule {
      freeformType = types.attrsOf json;
      options = {
        command = orNull types.str "Program to run; it speaks MCP over its standard input and output.";
        args = words "Its arguments. No secrets here: other users of the machine can read them.";
        env = variables "Variables it gets; `\${NAME}` takes a value from .env.";
        url = orNull types.str "Address of a server that is reached by HTTP.";
        headers = variables "Headers of every request; `\${NAME}` takes a value from .env.";
        auth = orNull (types.enum [ "oauth" ]) "How it knows us besides `headers`: by signing in.";
        enabled = mkOption {
          type = types.bool;
          default = true;
          description = "Whether it runs.";
        };
        timeout = orNull types.int "Seconds that a call may take (120).";
        connect_timeout = orNull types.int "Seconds until it must be ready (60).";
        tools = orNull tools "Which of its tools the model gets.";
        sampling = orNull sampling "What it may ask of our model.";
      };
    }
  );
  default = { };
  example = literalExpression ''{ files = { command = "mcp-server-filesystem"; args = [ "/srv/data" ]; }; }'';
  description = "MCP servers by name, merged into `settings.mcp_servers` (docs/mcp.md).";
}
