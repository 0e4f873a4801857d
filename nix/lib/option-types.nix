# As much of nixpkgs' `lib` as nix/options.nix needs, in pure builtins: enough to list the options with their types and
# defaults where there is no nixpkgs. It checks no definitions; the module system does that.
let
  inherit (builtins)
    attrNames
    concatLists
    concatMap
    concatStringsSep
    isAttrs
    listToAttrs
    map
    ;

  plain = description: { inherit description; };
  of = description: inner: { inherit description inner; };
  # "list of (a or b)": a type of several words is set apart.
  grouped =
    type: if builtins.match "[^ ]* or .*|.* or .*" type.description != null then "(${type.description})" else type.description;

  either = first: second: oneOf [
    first
    second
  ];
  oneOf = kinds: {
    description = concatStringsSep " or " (map (kind: kind.description) kinds);
    alternatives = kinds;
  };
in
rec {
  lib = {
    mkOption = given: given // { _type = "option"; };
    literalExpression = text: { literal = text; };
    inherit types;
  };

  types = {
    inherit either oneOf;
    bool = plain "boolean";
    float = plain "number";
    int = plain "integer";
    lines = plain "text of several lines";
    number = plain "number";
    package = plain "package";
    path = plain "path";
    raw = plain "value";
    str = plain "string";
    ints.positive = plain "integer above 0";
    enum = values: plain "one of ${concatStringsSep ", " (map builtins.toJSON values)}";
    nullOr = type: of "null or ${type.description}" type;
    listOf = type: of "list of ${grouped type}" type // { step = "[]"; };
    attrsOf = type: of "set of ${grouped type}" type // { step = "<name>"; };
    functionTo = type: plain "function to ${type.description}";
    submodule =
      given:
      (plain (if given ? options then "section" else "set of values"))
      // {
        options = given.options or { };
      };
  };

  # [{name, type, default, example, description}] of a tree of options; what is below a section as `name.<name>.…`.
  list = listBelow "";
  listBelow =
    prefix: tree:
    concatMap (
      name:
      let
        at = if prefix == "" then name else "${prefix}.${name}";
        option = tree.${name};
      in
      if !(option.visible or true) then
        [ ]
      else if (option._type or "") == "option" then
        [
          {
            name = at;
            type = option.type.description;
            default = option.defaultText or option.default or { literal = "none: must be given"; };
            example = option.example or null;
            inherit (option) description;
          }
        ]
        ++ listBelow "${at}${steps option.type}" (inside option.type)
      else
        listBelow at option
    ) (attrNames tree);

  steps = type: (if type ? step then ".${type.step}" else "") + (if type ? inner then steps type.inner else "");
  inside =
    type:
    if type ? options then
      type.options
    else if type ? inner then
      inside type.inner
    else if type ? alternatives then
      builtins.foldl' (found: kind: found // inside kind) { } type.alternatives
    else
      { };

  # The defaults of a tree of options, as `config` would have them without any definition.
  defaults =
    tree:
    listToAttrs (
      concatLists (
        map (
          name:
          let
            option = tree.${name};
          in
          if (option._type or "") == "option" then
            if option ? default then
              [
                {
                  inherit name;
                  value = option.default;
                }
              ]
            else
              [ ]
          else if isAttrs option then
            [
              {
                inherit name;
                value = defaults option;
              }
            ]
          else
            [ ]
        ) (attrNames tree)
      )
    );

  # Definitions over the defaults of a tree, sections and the submodules of a set filled in. No types are checked.
  define =
    tree: given:
    let
      own = defaults tree;
      fill =
        name:
        let
          option = tree.${name};
          isOption = (option._type or "") == "option";
          value = given.${name};
          below = if isOption then inside option.type else option;
        in
        if !isOption then
          define below value
        else if (option.type.step or "") == "<name>" && below != { } then
          builtins.mapAttrs (_: define below) value
        else if isAttrs value && below != { } && !(option.type ? alternatives) then
          define below value
        else
          value;
    in
    own
    // listToAttrs (
      map (name: {
        inherit name;
        value = if tree ? ${name} then fill name else given.${name};
      }) (attrNames given)
    );
}
