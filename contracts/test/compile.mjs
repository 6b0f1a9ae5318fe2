// Compiles a contract of this folder for a test and prints `{abi, bytecode, compiler}`: node test/compile.mjs NAME

import { compile } from "../compile.mjs";

const name = process.argv[2];
console.log(JSON.stringify(compile("test", [name])[name]));
