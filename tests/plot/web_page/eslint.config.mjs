// Names and types are TypeScript's to check: jsconfig.json.
export default [
  {
    rules: {
      curly: ["error", "multi-line"],
      eqeqeq: ["error", "smart"],

      "no-else-return": "error",
      "no-var": "error",
      "object-shorthand": "error",
      "prefer-arrow-callback": "error",
      "prefer-const": "error",
      "prefer-template": "off",
    },
  },
];
