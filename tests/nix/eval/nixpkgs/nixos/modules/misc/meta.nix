# Maintainers and the like; nothing looks at them here.
{ lib, ... }:
{
  options.meta = lib.mkOption {
    type = lib.types.submodule { freeformType = lib.types.lazyAttrsOf lib.types.raw; };
    default = { };
  };
}
