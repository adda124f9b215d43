// First of all modules, in this order. If a CommonJS package were the first to require Nest, Node would refuse it with
// "cannot require() ES module in a cycle".
import 'reflect-metadata';
import '@nestjs/common';
import '@nestjs/core';
