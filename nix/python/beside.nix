# What hermesd depends on and nixpkgs may not have, or not new enough: the wheels as published, each by its hash.
# Where nixpkgs has the version that is needed, its own is taken.
{ lib, ps }:
let
  wheel =
    {
      pname,
      version,
      hash,
      needs,
    }:
    let
      own = ps.${pname} or null;
      file = builtins.replaceStrings [ "-" ] [ "_" ] pname;
    in
    if own != null && lib.versionAtLeast own.version version then
      own
    else
      ps.buildPythonPackage {
        inherit pname version;
        format = "wheel";
        src = ps.fetchPypi {
          inherit version hash;
          pname = file;
          format = "wheel";
          dist = "py3";
          python = "py3";
        };
        dependencies = needs;
        pythonRelaxDeps = true;
        pythonImportsCheck = [ file ];
      };
in
rec {
  httpcore2 = wheel {
    pname = "httpcore2";
    version = "2.16.2";
    hash = "sha256-FgUa4qQvd2AHVD8y3pNJoxeyPSy7ThRWtLrA6IuHQZo=";
    needs = [
      ps.h11
      truststore
    ];
  };

  httpx2 = wheel {
    pname = "httpx2";
    version = "2.16.2";
    hash = "sha256-8FwTqt5MRdvxyQYGR6EFjwrK1iOY+tludBJp7bM9RvU=";
    needs = [
      ps.anyio
      httpcore2
      ps.idna
      truststore
      ps.typing-extensions
    ];
  };

  truststore = wheel {
    pname = "truststore";
    version = "0.10.5";
    hash = "sha256-mqrtrvrwbYsgYnjPi1ASvIl/SFqHRQNQHhLXdt94lRw=";
    needs = [ ];
  };

  mcp-types = wheel {
    pname = "mcp-types";
    version = "2.3.0";
    hash = "sha256-lo79va7fqwatrkDTeKNDlfEJDFkh1L48nN4oOq922R0=";
    needs = [
      ps.pydantic
      ps.typing-extensions
    ];
  };

  mcp = wheel {
    pname = "mcp";
    version = "2.3.0";
    hash = "sha256-3QxEwInRZFPorjGjh3oAVNeiMUyqqB9eBUG5sXNLI3c=";
    needs = [
      ps.anyio
      httpx2
      ps.jsonschema
      mcp-types
      ps.opentelemetry-api
      ps.pydantic
      ps.pyjwt
      ps.cryptography
      ps.python-multipart
      ps.sse-starlette
      ps.starlette
      ps.typing-extensions
      ps.typing-inspection
      ps.uvicorn
    ];
  };
}
